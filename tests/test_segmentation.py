"""Classes of pixels: the network for street scenes, and what is measured with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from aquatint.evaluation.metrics.segmentation import accuracy, confusion, mean_intersection_over_union


def test_intersections_and_unions_by_hand() -> None:
    true = np.array([[0, 0, 1], [1, 2, 9]])
    found = np.array([[0, 1, 1], [1, 7, 0]])
    table = confusion([(true, found)], 3)
    assert table.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]  # the pixel of class 9 does not count
    assert accuracy(table) == pytest.approx(3 / 5)
    assert mean_intersection_over_union(table) == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)


def test_classes_that_are_nowhere_do_not_count() -> None:
    true = np.zeros((4, 4), np.int64)
    assert mean_intersection_over_union(confusion([(true, true)], 5)) == 1
    assert mean_intersection_over_union(confusion([(true + 5, true)], 5)) == 0
    assert accuracy(confusion([], 5)) == 0


def test_espnet_reads_street_scenes(data_dir: Path, weights_dir: Path) -> None:
    espnet = pytest.importorskip("aquatint.perception.espnet")
    frames = sorted((data_dir / "street/camvid/val").glob("*.webp"))[::10]
    if not frames or not (weights_dir / "espnet").is_dir():
        pytest.skip("no street scenes, or no weights of ESPNet")

    def pairs():
        for frame in frames:
            labels = frame.parent.with_name("val_labels") / f"{frame.stem}.png"
            yield np.asarray(PILImage.open(labels)), espnet.segment(np.asarray(PILImage.open(frame).convert("RGB")))

    table = confusion(pairs(), 11)
    assert accuracy(table) > 0.9
    assert mean_intersection_over_union(table) > 0.6
    pixels = np.asarray(PILImage.open(frames[0]).convert("RGB"))[:101, :75]
    assert espnet.segment(pixels).shape == (101, 75)
    names = tuple(reversed(espnet.CLASSES))
    turned = espnet.segmented("auto", pixels.astype(np.float32) / 255, names)
    assert np.array_equal(11 - turned, espnet.segment(pixels))


def test_labels_are_found_only_where_classes_are_those_of_the_network() -> None:
    pytest.importorskip("torch")
    from aquatint.errors import UsageError
    from aquatint.perception.espnet import CLASSES, ESPNet, segmented

    pixels = np.zeros((8, 8, 3), np.float32)
    with pytest.raises(UsageError, match="classes that the model has not: sky, building"):
        segmented("auto", pixels, ("road",))
    with pytest.raises(UsageError, match="labels are a map of classes or 'auto', not 'some'"):
        segmented("some", pixels, CLASSES)
    assert sum(parameter.numel() for parameter in ESPNet(12).parameters()) == 354_517


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from aquatint.errors import DependencyError
    from aquatint.perception import espnet

    espnet._network.cache_clear()
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DependencyError, match=r"espnet_p_2_q_8_camvid\.pth"):
        espnet.segment(np.zeros((8, 8, 3), np.uint8))
