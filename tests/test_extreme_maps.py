"""Maps of classes in a stream: numbers with learned odds, rasters and polygons."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aquatint.codecs import turns  # noqa: E402
from aquatint.codecs.extreme import maps, polygons  # noqa: E402
from aquatint.codecs.extreme.adaptive import Counts, Number  # noqa: E402
from aquatint.codecs.turns import Reader, Writer  # noqa: E402
from aquatint.errors import CorruptStreamError  # noqa: E402


def nested() -> np.ndarray:
    """Regions within regions, at edges, and such that touch at corners."""
    labels = np.zeros((40, 56), np.int64)
    labels[4:36, 6:50] = 1
    labels[8:30, 10:40] = 2
    labels[10:20, 12:20] = 0
    labels[20:24, 20:30] = 3
    labels[24:28, 30:36] = 3  # touches the one before at a corner
    labels[0, :20] = 4
    labels[39, 55] = 2
    return labels


def noise(height: int, width: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, classes, (height, width))


MAPS = {
    "nested": (nested(), 5),
    "one place": (np.array([[2]]), 3),
    "one class": (np.zeros((9, 13), np.int64), 1),
    "two classes of noise": (noise(12, 17, 2), 2),
    "many classes": (noise(6, 5, 255), 255),
    "a column": (noise(20, 1, 3), 3),
    "a row": (noise(1, 20, 3), 3),
    "ring": (np.pad(np.ones((10, 12), np.int64), 2), 2),
}


@pytest.mark.parametrize("code", [maps.raster, polygons.code])
@pytest.mark.parametrize("name", MAPS)
def test_maps_survive(name: str, code) -> None:
    labels, classes = MAPS[name]
    writer = Writer()
    assert np.array_equal(code(writer, classes, labels.shape, labels), labels)
    reader = Reader(writer.stream())
    assert np.array_equal(code(reader, classes, labels.shape, None), labels)
    reader.finish()


@pytest.mark.parametrize("name", ["nested", "two classes of noise"])
def test_the_shorter_form_is_taken(name: str) -> None:
    labels, classes = MAPS[name]
    bits = []
    for code in (maps.raster, polygons.code):
        writer = Writer()
        code(writer, classes, labels.shape, labels)
        bits.append(writer.bits)
    chosen = Writer()
    maps.write(chosen, classes, labels)
    assert chosen.bits == pytest.approx(1 + min(bits), abs=0.03)
    assert np.array_equal(maps.read(Reader(chosen.stream()), classes, labels.shape), labels)


def test_both_forms_have_their_maps() -> None:
    """A few straight lines on a large map are polygons; ragged edges are a raster."""
    box = np.zeros((300, 400), np.int64)
    box[37:200, 51:333] = 1
    ragged = noise(30, 40, 2)
    for labels, form in ((box, 1), (ragged, 0)):
        writer = Writer()
        maps.write(writer, 2, labels)
        assert int(Reader(writer.stream())(np.array([turns.EVEN]))[0]) == form
    writer = Writer()
    maps.write(writer, 2, box)
    assert writer.bits < 160


def test_outlines_run_around_regions() -> None:
    labels = np.zeros((5, 6), np.int64)
    labels[1:4, 2:5] = 1
    labels[2, 3] = 2
    ground, ring, hole = polygons.outlines(labels) or []
    assert (ground.label, ground.start, ground.runs) == (0, (0, 0), [6, 5, 6, 5])
    assert (ring.label, ring.start, ring.runs, ring.turns) == (1, (1, 2), [3, 3, 3, 3], [1, 1, 1])
    assert (hole.label, hole.start, hole.runs) == (2, (2, 3), [1, 1, 1, 1])


def test_places_that_touch_at_corners_are_apart() -> None:
    labels = np.eye(4, dtype=np.int64)
    regions = polygons.components(labels)
    assert len(np.unique(regions[labels == 1])) == 4
    assert len(np.unique(regions[labels == 0])) == 2
    snake = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 1], [1, 0, 0], [1, 1, 1]])
    assert len(np.unique(polygons.components(snake)[snake == 1])) == 1


def test_too_many_polygons_are_left_to_the_raster() -> None:
    assert polygons.outlines(noise(50, 60, 200)) is None
    assert polygons.code(Writer(), 200, (50, 60), noise(50, 60, 200)) is None


@pytest.mark.parametrize(
    ("count", "label", "start", "runs", "turned", "message"),
    [
        (0, 0, (0, 0), [], [], "has none"),
        (5000, 0, (0, 0), [], [], "a number of a polygon is 5000; 1024 is the limit"),
        (1, 3, (0, 0), [], [], "a polygon has class 3; there are 3"),
        (1, 0, (9, 0), [], [], "a number of a polygon is 9; 7 is the limit"),
        (1, 0, (0, 6), [3], [1], "leaves the map of 8x8 places"),
        (1, 0, (0, 0), [8] * 20_000, [1, 0, 0, 1] * 5000, "leaves the map|more than 16384 corners"),
    ],
)
def test_hostile_polygons_are_refused(
    count: int, label: int, start: tuple[int, int], runs: list[int], turned: list[int], message: str
) -> None:
    writer = Writer()
    coder = polygons._Coder(writer, 4, (1 << 14, 1 << 14))
    coder.number(count, coder.COUNT, 1 << 14)
    if count == 1:
        with suppress(IndexError, CorruptStreamError):  # it does not end
            coder.polygon(polygons.Polygon(label, start, runs, turned))
    with pytest.raises(CorruptStreamError, match=message):
        polygons.code(Reader(writer.stream() + bytes(64)), 3, (8, 8), None)


def test_polygons_may_not_paint_for_ever() -> None:
    writer = Writer()
    coder = polygons._Coder(writer, 2, (8, 8))
    coder.number(30, coder.COUNT, 1 << 10)
    for _ in range(30):
        coder.polygon(polygons.Polygon(1, (0, 0), [8, 8, 8, 8], [1, 1, 1]))
    with pytest.raises(CorruptStreamError, match="polygons paint more than 16 times the map's 64 places"):
        polygons.code(Reader(writer.stream()), 2, (8, 8), None)


def test_unknown_classes_are_refused() -> None:
    writer = Writer()
    maps.raster(writer, 4, (6, 7), noise(6, 7, 4))
    with pytest.raises(CorruptStreamError, match="a map has class 3; there are 3"):
        maps.raster(Reader(writer.stream()), 3, (6, 7), None)


def test_odds_are_learned() -> None:
    counts, writer = Counts(np.ones((1, 2))), Writer()
    chance = np.random.default_rng(0)
    for _ in range(60):
        counts(writer, np.zeros(50, np.int64), (chance.random(50) < 0.03).astype(np.int64))
    assert writer.bits / 3000 == pytest.approx(0.194, abs=0.03)  # the entropy of 3 %


def test_numbers_survive() -> None:
    numbers = [0, 1, 2, 7, 8, 1000, (1 << 20) - 3, 0, 0]
    writer, coder = Writer(), Number(2)
    for k, number in enumerate(numbers):
        assert coder(writer, number, k % 2) == number
    reader, coder = Reader(writer.stream()), Number(2)
    assert [coder(reader, None, k % 2) for k in range(len(numbers))] == numbers
    reader.finish()
