"""Crops: where photographs are found, and that each crop is a function of its number."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

torch = pytest.importorskip("torch")

from aquatint.errors import ImageError  # noqa: E402
from aquatint.training.data import Crops, Photograph, batches, find_photographs  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pictures in it and below it, and other files."""
    (tmp_path / "sub").mkdir()
    for k, name in enumerate(["b.png", "a.webp", "sub/c.jpg"]):
        samples = np.random.default_rng(k).integers(0, 256, (40 + k, 50, 3), np.uint8)
        PILImage.fromarray(samples).save(tmp_path / name, lossless=True)
    (tmp_path / "notes.md").write_text("no picture")
    return tmp_path


def test_folders_are_searched_in_order(folder: Path) -> None:
    names = [photograph.path.name for photograph in find_photographs([folder])]
    assert names == ["a.webp", "b.png", "c.jpg"]


def test_tar_files_and_lists_give_the_same_pictures(folder: Path) -> None:
    with tarfile.open(folder / "shard.tar", "w") as archive:
        for name in ("a.webp", "b.png", "notes.md"):
            archive.add(folder / name, name)
    (folder / "list.txt").write_text("a.webp\n\nb.png\n")
    shard, listed = find_photographs([folder / "shard.tar"]), find_photographs([folder / "list.txt"])
    assert len(shard) == len(listed) == 2
    for k in range(4):
        one = Crops(shard, 16, 1, 3)[k][0]
        other = Crops(listed, 16, 1, 3)[k][0]
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_sources_without_pictures_are_errors(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=name):
        find_photographs([tmp_path / name])
    with pytest.raises(ImageError, match="no data"):
        find_photographs([])


def test_small_and_damaged_pictures_are_passed_over_until_nothing_is_left(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"not a picture")
    photographs = find_photographs([folder])
    assert len(photographs) == 4
    assert Crops(photographs, 32, 1, 0)[0][0].shape == (3, 32, 32)
    with pytest.raises(ImageError, match="fewer than a crop of 64x64"):
        Crops([Photograph(folder / "b.png")], 64, 1, 0)[0]
    with pytest.raises(ImageError, match=r"broken\.png"):
        Crops([Photograph(folder / "broken.png")], 16, 1, 0)[0]


def test_crops_are_parts_of_the_picture(folder: Path) -> None:
    samples = np.asarray(PILImage.open(folder / "b.png")).astype(np.float32) / 255
    crops = Crops([Photograph(folder / "b.png")], 24, 1, 0, flip=False)
    for k in range(5):
        crop = crops[k][0].permute(1, 2, 0).numpy()
        places = [
            (y, x)
            for y in range(17)
            for x in range(27)
            if np.allclose(samples[y : y + 24, x : x + 24], crop, atol=1e-6)
        ]
        assert len(places) == 1
    assert any(not torch.equal(crops[0][0], crops[k][0]) for k in range(1, 5))


def test_a_batch_is_the_same_in_any_process_and_at_any_start(folder: Path) -> None:
    crops = Crops(find_photographs([folder]), 16, 4, 7, smallest_scale=0.7)
    whole = list(batches(crops, 0, 5))
    later = list(batches(crops, 3, 5))
    assert torch.equal(whole[3].pixels, later[0].pixels)
    shares = [next(batches(crops, 2, 3, rank=rank, processes=2)) for rank in range(2)]
    assert torch.equal(torch.cat([share.pixels for share in shares]), whole[2].pixels)
    like = torch.zeros(4, 2, 3)
    noise = whole[2].noise(like)
    assert torch.equal(torch.cat([share.noise(like[:2]) for share in shares]), noise)
    assert not torch.equal(whole[2].noise(like), noise)
    assert noise.abs().max() <= 0.5


def test_places_are_spread_over_each_batch(folder: Path) -> None:
    crops = Crops(find_photographs([folder]), 16, 4, 7)
    for batch in batches(crops, 0, 3):
        assert (batch.places * 4).floor().tolist() == [0, 1, 2, 3]


def test_workers_decode_the_same_crops(folder: Path) -> None:
    crops = Crops(find_photographs([folder]), 16, 4, 7)
    for here, there in zip(batches(crops, 0, 2), batches(crops, 0, 2, workers=1), strict=True):
        assert torch.equal(here.pixels, there.pixels)
