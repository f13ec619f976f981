"""The overfitted codec as a whole: photographs there and back, targets, and pictures that are hard for a fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aquatint
from aquatint import Target, container, native
from aquatint.codecs.overfitted import presets, stream
from aquatint.codecs.overfitted.encoder import Trial, next_lagrangian
from aquatint.codecs.overfitted.objective import TUNES
from aquatint.container import Chunk
from aquatint.perception import sigma


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    peak = np.iinfo(a.dtype).max
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def payload_of(data: bytes) -> bytes:
    return container.read(data)[1][Chunk.PAYLOAD]


def compress(pixels: np.ndarray, effort: int = 2, tune: str = "psnr", **target: float) -> aquatint.Encoded:
    picture = aquatint.from_array(pixels)
    return aquatint.compress(picture, Target(**target), aquatint.Options(effort=effort, tune=tune))  # type: ignore[arg-type]


def test_reports_what_a_decoder_finds(photo: np.ndarray) -> None:
    encoded = compress(photo, effort=4, quality=60)
    decoded = np.asarray(aquatint.decode(encoded.data))
    assert psnr(decoded, photo) == pytest.approx(encoded.report.psnr, abs=1e-3)
    assert encoded.report.psnr > 25
    real_bits = 8 * len(payload_of(encoded.data))
    assert encoded.report.estimated_bits == pytest.approx(real_bits, rel=0.01, abs=64)


@pytest.mark.parametrize(("tune", "bpp"), [("psnr", 0.4), ("psnr", 1.5), ("wd", 0.4)])
def test_bits_per_pixel_are_met(photo: np.ndarray, tune: str, bpp: float) -> None:
    assert compress(photo, effort=3, tune=tune, bpp=bpp).bpp == pytest.approx(bpp, rel=0.03)


@pytest.mark.parametrize("size", [300, 900, 3000])
def test_a_size_is_never_exceeded_and_used(photo: np.ndarray, size: int) -> None:
    used = len(compress(photo, effort=3, size=size).data)
    assert 0.95 * size <= used <= size


def test_a_size_below_the_least_is_refused(photo: np.ndarray) -> None:
    with pytest.raises(aquatint.UsageError, match="50 bytes"):
        compress(photo, effort=1, size=50)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([(1e-2, 640)], 1e-2 * 0.8**2),  # along the slope that was expected
        ([(1e-2, 512), (1e-2 * 0.8**2.5, 640)], 1e-2 * 0.8**5),  # along the one that was found
        ([(1e-2, 640), (1e-3, 648)], 1e-3 * 0.81**4),  # but not along any
        ([(1e-2, 640), (1e-3, 1000)], 1e-2 * 0.1**0.5),  # between those that enclose it
        ([(1e-2, 792), (1e-3, 1000)], 1e-2 * 0.1**0.1),  # and not beside one of them
        ([(1e-1, 400), (1e-2, 640), (0.997e-2, 1600)], 0.997e-2 * (10 / 0.997) ** 0.5),  # but where bits are by chance
        ([(1.0, 1600)], 1.0),
    ],
)
def test_where_the_next_fit_has_the_bits(trials: list[tuple[float, int]], expected: float) -> None:
    done = [Trial(lagrangian, bytes(bits // 8), 0.0) for lagrangian, bits in trials]
    assert next_lagrangian(done, 800, -0.5) == pytest.approx(expected)


def test_better_quality_takes_more_bytes_and_looks_better(photo: np.ndarray) -> None:
    results = [compress(photo, quality=quality) for quality in (10, 35, 60, 85)]
    sizes = [len(result.data) for result in results]
    psnrs = [result.report.psnr for result in results]
    assert sizes == sorted(sizes)
    assert psnrs == sorted(psnrs)


def test_more_effort_lowers_the_cost(photo: np.ndarray) -> None:
    lagrangian = 2e-3
    costs = []
    for effort in (1, 3, 5):
        result = compress(photo, effort=effort, lagrangian=lagrangian)
        costs.append(10 ** (-result.report.psnr / 10) + lagrangian * result.bpp)
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 17), (33, 65)])
def test_any_size(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape)
    pixels = np.stack([128 + 40 * np.sin(rows / 5), 100 + 2 * columns, 90 + rows + columns], axis=2).astype(np.uint8)
    encoded = compress(pixels, quality=70)
    decoded = np.asarray(aquatint.decode(encoded.data))
    assert decoded.shape == pixels.shape
    assert psnr(decoded, pixels) == pytest.approx(encoded.report.psnr, abs=1e-3)
    assert encoded.report.psnr > 20


def test_low_rates_skip_the_finest_grid(kodak: list[Path]) -> None:
    pixels = aquatint.read(kodak[2]).to_array()[:256, :256]
    for bpp, skipped in ((0.2, True), (1.5, False)):
        payload = payload_of(compress(pixels, effort=1, bpp=bpp).data)
        assert native.decode_latents(payload, 256, 256)[0].any() != skipped


@pytest.mark.parametrize(
    ("lagrangian", "bpp", "share", "skipped"),
    [
        (3.5e-3, 0.5, 0.4, True),
        (3.4e-3, 0.5, 0.4, False),
        (3.5e-3, 0.5, 0.47, False),
        (4e-4, 0.19, 0.4, True),
        (3e-4, 0.19, 0.4, False),
        (4e-4, 0.2, 0.4, False),
        (4e-4, 0.19, 0.47, False),
    ],
)
def test_when_the_finest_grid_is_skipped(lagrangian: float, bpp: float, share: float, skipped: bool) -> None:
    arguments = lagrangian, bpp, share, presets.SKIPPED_BPP
    assert presets.skips_finest(presets.LADDER["fast"], *arguments) == skipped
    assert not presets.skips_finest(presets.LADDER["least"], *arguments)


# --- Wasserstein distortion


def local_deviations(pixels: np.ndarray) -> np.ndarray:
    """Standard deviations of brightness in squares of 8x8."""
    rows, columns = (side // 8 * 8 for side in pixels.shape[:2])
    luma = pixels[:rows, :columns].mean(2)
    return luma.reshape(rows // 8, 8, columns // 8, 8).std((1, 3))


@pytest.fixture(scope="module")
def gravel() -> np.ndarray:
    """A gradient, and coarse noise on its right half."""
    grain = np.random.default_rng(0).normal(size=(128, 96)) * 30
    pixels = np.linspace(60, 180, 192) * np.ones((128, 1))
    pixels[:, 96:] += grain
    return np.clip(pixels, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def test_more_texture_survives_at_equal_bits(gravel: np.ndarray) -> None:
    expected = local_deviations(gravel)
    shares = {}
    for tune, noise_grids in (("psnr", 0), ("wd", 2)):
        for seed in range(4):  # near white noise bits are a matter of chance, and a search may miss its rate
            options = aquatint.Options(effort=3, tune=tune, seed=seed)
            encoded = aquatint.compress(aquatint.from_array(gravel), Target(bpp=0.2), options)
            if encoded.bpp == pytest.approx(0.2, rel=0.03):
                break
        assert encoded.bpp == pytest.approx(0.2, rel=0.03)
        decoded = local_deviations(np.asarray(aquatint.decode(encoded.data)))
        shares[tune] = decoded[:, 12:].mean() / expected[:, 12:].mean()
        assert decoded[:, :11].mean() < 2  # the smooth half stays smooth
        assert payload_of(encoded.data)[2] & 3 == noise_grids
    assert shares["wd"] > 0.55
    assert shares["wd"] > 1.3 * shares["psnr"]


def test_smooth_places_have_no_patches() -> None:
    # Shaded light beside noise, whose latents would spread if they could.
    across, down = np.meshgrid(np.linspace(0, 1, 160), np.linspace(0, 1, 160))
    light = 0.35 + 0.4 * np.exp(-((across - 0.4) ** 2 + (down - 0.5) ** 2) / 0.15)
    light[:, 120:] = np.random.default_rng(1).normal(0.5, 0.15, (160, 40))
    pixels = np.rint(255 * np.clip(light[..., None] * [1, 0.8, 0.7], 0, 1)).astype(np.uint8)

    def smooth_part(tune: str) -> tuple[float, float, float]:
        encoded = compress(pixels, tune=tune, lagrangian=3e-3)
        used = (stream.read(payload_of(encoded.data), 160, 160).latents[0][:, :100] != 0).mean()
        decoded = np.asarray(aquatint.decode(encoded.data))[:, :100].astype(float)
        error = np.sqrt(np.mean((decoded - pixels[:, :100]) ** 2))
        return float(used), float(error), float(np.abs(np.diff(decoded.mean(2), axis=1)).max())

    (used, error, edge), (used_without, error_without, edge_without) = smooth_part("wd"), smooth_part("psnr")
    assert used == 0 < 0.1 < used_without
    assert error < 0.6 * error_without
    assert edge < 0.4 * edge_without


def test_large_smooth_places_keep_their_colours() -> None:
    with Image.open(Path(__file__).parents[1] / "samples/astronaut.png") as whole:
        face = whole.convert("RGB").crop((170, 50, 298, 178)).resize((384, 384), Image.Resampling.LANCZOS)
    pixels = np.asarray(face)

    def error_of_colours(tune: str) -> float:
        decoded = np.asarray(aquatint.decode(compress(pixels, tune=tune, lagrangian=3e-3).data))
        means = (decoded.astype(float) - pixels).reshape(24, 16, 24, 16, 3).mean((1, 3))
        return float(np.sqrt(np.mean((means - means.mean(2, keepdims=True)) ** 2)))

    assert error_of_colours("wd") < min(1.5 * error_of_colours("psnr"), 1.8)


def test_a_sigma_map_says_where_pixels_count(gravel: np.ndarray) -> None:
    sigma_map = np.zeros(gravel.shape[:2], np.float32)
    sigma_map[:64] = 0.6
    options = aquatint.Options(effort=3, tune="wd", sigma_map=sigma_map)
    encoded = aquatint.compress(aquatint.from_array(gravel), Target(lagrangian=5e-3), options)
    errors = np.square(np.asarray(aquatint.decode(encoded.data)).astype(float) - gravel).mean(2)[:, 96:]
    assert errors[72:].mean() < 0.9 * errors[:56].mean()


def test_derived_sigma_maps_are_those_of_perception(gravel: np.ndarray) -> None:
    pixels = gravel.astype(np.float32) / 255
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    decoded = np.clip(planes + np.random.default_rng(1).normal(0, 0.1, planes.shape), 0, 1).astype(np.float32)
    objective = TUNES["wd"]
    assert objective is not None
    for name, derived in {
        "saliency": sigma.from_saliency(sigma.saliency(pixels), sigma_max=8),
        "self-similar": sigma.self_similar(pixels),
    }.items():
        painted = (np.log2(np.maximum(derived, 1)) / sigma.MAX_LEVEL).astype(np.float32)
        (value, gradient), (expected, expected_gradient), (constant, _) = (
            objective.distortion(planes, sigma_map, skip_finest=False, device="cpu", threads=1)(decoded)
            for sigma_map in (name, painted, None)
        )
        assert value == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-3 * np.abs(expected_gradient).max())
        assert abs(value / constant - 1) > 0.005
        image, target = aquatint.from_array(gravel), Target(lagrangian=1e-2)
        files = [
            aquatint.compress(image, target, aquatint.Options(effort=1, tune="wd", sigma_map=sigma_map, threads=1))
            for sigma_map in (name, None)
        ]
        assert files[0].data != files[1].data


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 17)])
def test_wasserstein_distortion_of_any_size(height: int, width: int) -> None:
    rows, columns = np.indices((height, width))
    pixels = np.stack([100 + 2 * columns, 90 + rows + columns, 80 + rows], axis=2).astype(np.uint8)
    encoded = compress(pixels, effort=1, tune="wd", quality=60)
    assert psnr(np.asarray(aquatint.decode(encoded.data)), pixels) == pytest.approx(encoded.report.psnr, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tune": "ssim"}, "cannot tune for 'ssim'; choose one of psnr, wd, wd-vgg"),
        ({"tune": "psnr", "sigma_map": np.zeros((64, 64))}, "a sigma map needs an objective that has windows"),
        ({"tune": "wd", "sigma_map": "salient"}, "no sigma map 'salient'; choose one of saliency, self-similar"),
        ({"tune": "wd", "sigma_map": np.zeros((64, 65))}, r"each of the 64x64 pixels, not the shape \(64, 65\)"),
        ({"tune": "wd", "sigma_map": np.full((64, 64), 1.5)}, "sigma map must be one channel from 0 to 1"),
    ],
)
def test_unusable_objectives(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(aquatint.UsageError, match=message):
        aquatint.encode(np.zeros((64, 64, 3), np.uint8), effort=1, **arguments)  # type: ignore[arg-type]


def test_vgg_needs_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("AQUATINT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(aquatint.DependencyError, match=r"python -m aquatint\.perception\.weights vgg19"):
        aquatint.encode(np.zeros((16, 16, 3), np.uint8), effort=1, tune="wd-vgg")


def test_grayscale_and_depth_are_kept(photo: np.ndarray) -> None:
    gray = photo[..., 1].astype(np.uint16) * 257
    encoded = compress(gray, effort=3, quality=60)
    decoded = np.asarray(aquatint.decode(encoded.data))
    assert decoded.dtype == np.uint16
    assert decoded.shape == gray.shape
    assert psnr(decoded, gray) == pytest.approx(encoded.report.psnr, abs=1e-3)
    assert encoded.report.psnr > 24


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("flat", np.full((64, 80, 3), 77, np.uint8)),
        ("noise", np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)),
        ("checkerboard", np.indices((64, 80)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 255),
    ],
)
def test_unnatural_pictures_do_not_blow_up(name: str, pixels: np.ndarray) -> None:
    encoded = compress(pixels, quality=50)
    decoded = np.asarray(aquatint.decode(encoded.data))
    assert psnr(decoded, pixels) == pytest.approx(encoded.report.psnr, abs=1e-3)
    assert encoded.report.psnr > {"flat": 40, "noise": 6, "checkerboard": 5}[name]
    assert encoded.bpp < {"flat": 0.6, "noise": 8, "checkerboard": 4}[name]


def test_equal_seeds_give_equal_files(small_photo: np.ndarray) -> None:
    def encoded(seed: int) -> bytes:
        return aquatint.encode(small_photo, quality=50, effort=1, seed=seed, threads=2)

    assert encoded(3) == encoded(3)
    assert encoded(3) != encoded(4)


def test_progress_counts_to_the_end(small_photo: np.ndarray) -> None:
    seen: list[aquatint.Progress] = []
    aquatint.encode(small_photo, quality=50, effort=2, progress=seen.append)
    assert [p.step for p in seen] == sorted(p.step for p in seen)
    assert seen[-1].step == seen[-1].steps == presets.steps(2)
    assert seen[-1].bpp > 0
    assert seen[-1].seconds_left == 0


def test_an_exception_in_progress_ends_the_fit(small_photo: np.ndarray) -> None:
    def stop(progress: aquatint.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aquatint.encode(small_photo, quality=50, effort=5, progress=stop)


def test_every_path_decodes_the_same(photo: np.ndarray) -> None:
    data = compress(photo, effort=2, quality=70).data
    height, width = photo.shape[:2]
    payload = payload_of(data)
    latents = native.decode_latents(payload, height, width, "portable")
    picture = native.decode(payload, height, width, threads=1, isa="portable")
    for isa in native.instruction_sets():
        for got, expected in zip(native.decode_latents(payload, height, width, isa), latents, strict=True):
            np.testing.assert_array_equal(got, expected)
        for threads in (1, 2, 3):
            other = native.decode(payload, height, width, threads=threads, isa=isa)
            assert np.abs(other.astype(int) - picture).max() <= 1


def test_both_engines_encode(small_photo: np.ndarray) -> None:
    pytest.importorskip("torch", reason="the PyTorch engine needs torch")
    picture = aquatint.from_array(small_photo)
    results = [
        aquatint.compress(picture, Target(quality=60), aquatint.Options(effort=2, device=device))
        for device in ("cpu", "torch")
    ]
    assert results[1].report.psnr == pytest.approx(results[0].report.psnr, abs=1)
    assert results[1].bpp == pytest.approx(results[0].bpp, rel=0.2)


def test_damage_anywhere_is_noticed(small_photo: np.ndarray) -> None:
    data = aquatint.encode(small_photo, quality=60, effort=1)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(aquatint.FileFormatError):
            aquatint.decode(bytes(damaged))
        with pytest.raises(aquatint.FileFormatError):
            aquatint.decode(data[:position])


def test_kodak_at_a_third_of_a_bit(kodak: list[Path]) -> None:
    picture = aquatint.read(kodak[22])
    crop = np.asarray(picture)[100:228, 200:392]
    encoded = compress(crop, effort=4, bpp=0.5)
    assert encoded.bpp == pytest.approx(0.5, rel=0.03)
    assert encoded.report.psnr > 26
