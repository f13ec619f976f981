"""Trained weights of feature networks: where their files are, and what is in them."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aquatint.errors import MissingModelError, ModelMismatchError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_TORCHVISION = "https://download.pytorch.org/models"
_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"


@dataclass(frozen=True)
class Source:
    """Files any of which has the weights of a network.

    Attributes:
        files: names, the preferred one first. The end of a name such as `vgg16-397923af.pth` is the beginning of the
            file's SHA-256, which is then verified.
        url: of the standard file, which is the last of `files`; empty if there is no public one.
        prefix: of the names of tensors that count, where a file has those of several networks.
    """

    files: tuple[str, ...]
    url: str = ""
    prefix: str = ""


def _lpips(net: str) -> Source:
    return Source(("lpips_heads_v0.1.safetensors", f"lpips_{net}.pth"), f"{_LPIPS}/{net}.pth", f"{net}.")


SOURCES = {
    "squeezenet1_1": Source(
        ("squeezenet1_1_torchvision_fp16.safetensors", "squeezenet1_1-b8a52dc0.pth"),
        f"{_TORCHVISION}/squeezenet1_1-b8a52dc0.pth",
    ),
    "alexnet": Source(("alexnet-owt-7be5be79.pth",), f"{_TORCHVISION}/alexnet-owt-7be5be79.pth"),
    "vgg16": Source(("vgg16-397923af.pth",), f"{_TORCHVISION}/vgg16-397923af.pth"),
    "inception": Source(
        ("weights-inception-2015-12-05-6726825d.pth",),
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    ),
    "mobilenet_v2": Source(("mobilenet_v2_1.0_224_int8.safetensors",)),
    "lpips-alex": _lpips("alex"),
    "lpips-squeeze": _lpips("squeeze"),
    "lpips-vgg": _lpips("vgg"),
    "dists": Source(("dists.pt",), "https://github.com/dingkeyan93/DISTS/raw/master/DISTS_pytorch/weights.pt"),
}


def folder() -> Path:
    """Where weights are looked for: $AQUATINT_WEIGHTS, or `aquatint/weights` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("AQUATINT_WEIGHTS") or os.path.join(cache, "aquatint", "weights"))


def missing(name: str) -> str | None:
    """What is to be done to have the weights of a network, or None if they are there.

    Raises:
        UsageError: no network has this name.
    """
    source = _source(name)
    if _file(source) is not None:
        return None
    path = folder() / source.files[-1]
    if source.url:
        return f"the weights {name} are not at hand: curl -L --create-dirs -o '{path}' {source.url}"
    return f"the weights {name} are not at hand: there is no file {path}"


def load(name: str) -> dict[str, Tensor]:
    """The tensors of a network, on the CPU, as they are in its file.

    Raises:
        UsageError: no network has this name.
        MissingModelError: there is no file; the message says how to get it.
        ModelMismatchError: the file is damaged or another one.
    """
    source = _source(name)
    file = _file(source)
    if file is None:
        raise MissingModelError(str(missing(name)))
    tensors = _read(file)
    selected = {key.removeprefix(source.prefix): tensors[key] for key in tensors if key.startswith(source.prefix)}
    return selected or tensors


def _source(name: str) -> Source:
    try:
        return SOURCES[name]
    except KeyError:
        raise UsageError(f"weights {name!r} are not one of {', '.join(SOURCES)}") from None


def _file(source: Source) -> Path | None:
    paths = (folder() / name for name in source.files)
    return next((path for path in paths if path.is_file()), None)


def _read(file: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    expected = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    if expected is not None:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if not digest.startswith(expected[1]):
            raise ModelMismatchError(f"{file}: its SHA-256 must begin with {expected[1]}, not {digest[:8]}")
    try:
        return load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, EOFError, AttributeError) as error:
        raise ModelMismatchError(f"{file}: the weights are damaged: {error}") from error
