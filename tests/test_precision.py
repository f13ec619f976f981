"""Where bfloat16 is used."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from aquatint.perception.precision import has_bfloat16  # noqa: E402
from aquatint.training import precision  # noqa: E402
from aquatint.training.recipes import Recipe  # noqa: E402

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("wanted", "native", "used"),
    [("bfloat16", True, torch.bfloat16), ("bfloat16", False, torch.float32), ("float32", True, torch.float32)],
)
def test_a_step_is_in_bfloat16_where_the_device_has_it(
    monkeypatch: pytest.MonkeyPatch, wanted: str, native: bool, used: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: native)
    values = torch.ones(2, 2)
    with precision.arithmetic(Recipe(steps=1, precision=wanted), CPU):  # type: ignore[arg-type]
        assert (values @ values).dtype == used


def test_a_processor_says_whether_it_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: {"avx512_bf16": found}, raising=False)
        assert has_bfloat16(CPU) is found
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_bfloat16(CPU)
    assert has_bfloat16(torch.device("cuda"))
    assert not has_bfloat16(torch.device("mps"))  # as features of the distortion have it there
