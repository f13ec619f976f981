"""What importing costs and what it brings: the public names, and never torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import aquatint
from aquatint import errors

SOURCE = Path(aquatint.__file__).parents[1]

IMPORT = "import aquatint; [getattr(aquatint, name) for name in aquatint.__all__]; import aquatint.pillow"
DECODE = """
import sys, types, zlib
import numpy, aquatint
from aquatint import codecs, container
import aquatint.codecs.overfitted
fake = types.ModuleType("fake")
fake.decode = lambda payload, header, threads: numpy.full((header.height, header.width, 3), 7, numpy.uint8)
sys.modules["fake"] = fake
codecs._MODULES["overfitted"] = "fake"
header = container.Header("overfitted", 2, 3)
data = container.write(header, {container.Chunk.PAYLOAD: b""})
assert aquatint.probe(data) == header
assert aquatint.decode(data).to_array().tolist() == [[[7] * 3] * 2] * 3
"""


def modules_after(code: str, *paths: Path) -> set[str]:
    """Names of the modules that a fresh interpreter has imported after running code."""
    script = f"import sys; sys.path[:0] = {[str(path) for path in (SOURCE, *paths)]!r}\n{code}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("code", [IMPORT, DECODE], ids=["import", "decode"])
def test_torch_is_not_imported(code: str) -> None:
    modules = modules_after(code)
    assert "aquatint.api" in modules
    assert "torch" not in modules


def test_the_test_above_can_fail(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("")
    assert "torch" in modules_after(IMPORT + "; import torch", tmp_path)


def test_importing_the_package_imports_nothing_heavy() -> None:
    modules = modules_after("import aquatint")
    assert not modules & {"numpy", "PIL", "torch", "aquatint.api", "aquatint.native"}


def test_probing_imports_neither_numpy_nor_pillow() -> None:
    assert not modules_after("import aquatint; aquatint.probe") & {"numpy", "PIL", "torch"}


def test_all_is_sorted_and_complete() -> None:
    public = [name for name in dir(aquatint) if not name.startswith("_")]
    assert aquatint.__all__ == sorted(aquatint.__all__)
    assert set(aquatint.__all__) <= set(public)
    for name in aquatint.__all__:
        assert getattr(aquatint, name).__module__.startswith("aquatint.")
    tree = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name in aquatint.__all__ if name.endswith("Error")} == tree
    lower_case = {name for name in aquatint.__all__ if name.islower()}
    assert lower_case == {"compress", "decode", "encode", "from_array", "from_pil", "probe", "read"}


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'aquatint' has no attribute 'nope'"):
        aquatint.nope  # type: ignore[attr-defined]  # noqa: B018


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert aquatint.__version__ == project["version"]
