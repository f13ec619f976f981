"""Origins: the table in the sources, and how it is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aquatint.codecs.overfitted import presets
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import create_engine
from aquatint.codecs.overfitted.initialise import origin_for, origin_parameters, random_parameters, split
from aquatint.errors import UsageError
from aquatint.training.origins import learn, mosaic, pack

TABLE = Path(__file__).parent.parent / "native" / "origins.bin"


def test_the_table_has_every_decoder() -> None:
    rows = {a: [origin_parameters(a, which) for which in range(1, 98, 16)] for a in presets.LADDER.values()}
    assert pack(rows) == TABLE.read_bytes()


@pytest.mark.parametrize(
    ("lagrangian", "which"), [(1e-6, 1), (4e-4, 1), (2.5e-3, 17), (1.5e-2, 33), (9e-2, 49), (1.0, 49), (1e-3, 9)]
)
def test_origin_for_a_lagrangian(lagrangian: float, which: int) -> None:
    assert origin_for(lagrangian, skip_finest=False) == which


@pytest.mark.parametrize(
    ("lagrangian", "which"), [(1e-6, 65), (2.5e-3, 65), (6e-3, 73), (1.5e-2, 81), (9e-2, 97), (1, 97)]
)
def test_origin_without_the_finest_grid(lagrangian: float, which: int) -> None:
    assert origin_for(lagrangian, skip_finest=True) == which


def test_fewer_grids_leave_out_the_coarsest() -> None:
    architecture = Architecture(4, 14, 2, 24, 1)
    few = split(origin_parameters(architecture, 17), architecture)
    full = split(origin_parameters(presets.LADDER["default"], 17), presets.LADDER["default"])
    np.testing.assert_array_equal(few["taps"], full["taps"][:3])
    np.testing.assert_array_equal(few["s1"], full["s1"][:, :4])
    for name in ("w1", "b1", "w2", "b2", "w3", "b3", "t1", "s2", "t2", "r", "u"):
        np.testing.assert_array_equal(few[name], full[name])


def test_mosaic_holds_crops_of_the_photographs(tmp_path: Path) -> None:
    for i in range(2):
        Image.new("RGB", (40, 30), (100 * i, 50, 7)).save(tmp_path / f"{i}.png")
    Image.new("RGB", (10, 30), (255, 255, 255)).save(tmp_path / "small.png")  # too small for a crop
    planes = mosaic(sorted(tmp_path.iterdir()), rows=2, columns=5, side=20, seed=0)
    assert planes.shape == (3, 40, 100)
    assert set(np.unique((planes[0] * 255).round())) == {0, 100}
    assert set(np.unique((planes[2] * 255).round())) == {7}
    with pytest.raises(UsageError, match="31 pixels"):
        mosaic(sorted(tmp_path.iterdir()), rows=1, columns=1, side=31, seed=0)


def test_learned_networks_start_better_than_random_ones(photo: np.ndarray) -> None:
    architecture = presets.LADDER["fast"]
    planes = np.ascontiguousarray(np.moveaxis(photo[:96, :96], 2, 0).astype(np.float32) / 255)
    start = random_parameters(architecture, 0)
    learned = learn(planes, architecture, start, 2.5e-3, 60)

    def cost_after(parameters: np.ndarray) -> float:
        engine = create_engine(planes, architecture)
        engine.parameters = parameters
        for i in range(15):
            engine.step(0.3, 1.0, 2.5e-3, 0.16, 0.01, i)
        error, bits = engine.evaluate()
        return float(error) + 2.5e-3 * sum(bits) / planes[0].size

    assert cost_after(learned) < 0.8 * cost_after(start)
