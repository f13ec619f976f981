"""The ablation of the variable rate, on a recipe so small that only its bookkeeping can be looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

pytest.importorskip("torch")
pytest.importorskip("tyro")
pytest.importorskip("scipy")

from hyperprior_models import FAMILY

from aquatint.codecs.hyperprior.architecture import ARCHITECTURES
from aquatint.evaluation.curves import Curve, CurveError, bd_rate
from aquatint.training import ablation
from aquatint.training.recipes import Posttrain, RateDistortion

PLAIN = replace(FAMILY["channelwise"], conditioned=False, hyper_step=False, offset="none")


def difference(anchor: dict[str, list[float]], test: dict[str, list[float]], part: slice) -> str:
    """BD-rate of a part of two curves; networks as little trained as these need not share a quality."""
    one, other = (Curve(np.array(curve["bpp"][part]), np.array(curve["psnr"][part])) for curve in (anchor, test))
    try:
        return f"{bd_rate(one, other):+.1f} %"
    except CurveError:
        return "none"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_table_compares_all_variants(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", PLAIN)
    (tmp_path / "photographs").mkdir()
    for k in range(3):
        PILImage.fromarray(photo[:, k * 40 : k * 40 + 64]).save(tmp_path / "photographs" / f"{k}.png")
    small = {"batch": 2, "crop": 64, "validation_crops": 2, "warmup": 1, "learning_rate": 1e-3, "largest_lambda": 0.06}
    options = ablation.Options(
        data=(tmp_path / "photographs",),
        out=tmp_path / "out",
        base=RateDistortion(steps=3, architecture="tiny", **small),
        post=Posttrain(steps=1, max_step=PLAIN.max_step, **small),
        threads=1,
    )
    table = ablation.run(options)
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == ["one network, other steps", *ablation.VARIANTS]
    assert table.splitlines()[2].count(" %") == 3
    points = json.loads((tmp_path / "out" / "ablation.json").read_text())
    for line in table.splitlines()[2:]:
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        parts = slice(None), slice(0, 3), slice(2, None)
        assert cells == [difference(points["separate networks"], points[name], part) for part in parts], name
    assert list(points) == [*rows, "separate networks"]
    for name, curve in points.items():
        assert len(curve["bpp"]) == 5, name
        assert curve["bpp"] == sorted(curve["bpp"]), name
    # At the highest rate these are the same network.
    assert points["separate networks"]["psnr"][-1] == points["one network, other steps"]["psnr"][-1]
    assert ablation.run(options) == table  # nothing is trained again
    assert (tmp_path / "out" / "ablation.md").read_text() == table
