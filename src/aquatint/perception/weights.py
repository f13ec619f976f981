"""Weights of trained networks: where their files are found, and how they get there.

Files are looked for in a folder given as an argument, in the one that the environment variable AQUATINT_WEIGHTS names,
and in the user's cache. Nothing is downloaded unasked:

    python -m aquatint.perception.weights vgg16 squeezenet
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aquatint.errors import DependencyError, ModelMismatchError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


class WeightsFile(NamedTuple):
    """Where a file comes from, how its SHA-256 begins, and under which other names the same weights are accepted.

    Of tensors whose names begin with `prefix` the rest of the name counts, and the others do not, if there are any.
    """

    url: str
    sha256: str
    alternatives: tuple[str, ...] = ()
    prefix: str = ""
    saved_as: str = ""

    @property
    def name(self) -> str:
        return self.saved_as or self.url.rsplit("/", 1)[1]


_TORCHVISION = "https://download.pytorch.org/models/"

_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
_LPIPS_HASHES = {"alex": "df73285e", "squeeze": "4a5350f2", "vgg": "a78928a0"}
_HEADS = ("lpips_heads_v0.1.safetensors",)

# torchvision's files carry the beginning of their hash in their names.
FILES = {
    "vgg16": WeightsFile(_TORCHVISION + "vgg16-397923af.pth", "397923af"),
    "vgg19": WeightsFile(_TORCHVISION + "vgg19-dcbb9e9d.pth", "dcbb9e9d", ("vgg19_conv1_1_to_conv3_4.safetensors",)),
    "squeezenet": WeightsFile(
        _TORCHVISION + "squeezenet1_1-b8a52dc0.pth", "b8a52dc0", ("squeezenet1_1_torchvision_fp16.safetensors",)
    ),
    "alexnet": WeightsFile(_TORCHVISION + "alexnet-owt-7be5be79.pth", "7be5be79"),
    # Converted from TensorFlow's network of 2015 for torch-fidelity.
    "inception": WeightsFile(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d",
    ),
    # From google-coral/test_data, tf2_mobilenet_v2_1.0_224_ptq.tflite; there is no file of this form to download.
    "mobilenet": WeightsFile("", "", saved_as="mobilenet_v2_1.0_224_int8.safetensors"),
    # Of the authors of ESPNet (p = 2, q = 8); there is no address that is known to last.
    "espnet-camvid": WeightsFile("", "", ("espnet/espnet_p_2_q_8_camvid.pth",), saved_as="espnet_p_2_q_8_camvid.pth"),
    "dists": WeightsFile(
        "https://github.com/Lightning-AI/torchmetrics/raw/v1.9.0/src/torchmetrics/functional/image/dists_models/weights.pt",
        "f5e65c96",
        saved_as="dists.pt",
    ),
} | {
    f"lpips-{net}": WeightsFile(f"{_LPIPS}{net}.pth", sha256, _HEADS, f"{net}.", f"lpips_{net}.pth")
    for net, sha256 in _LPIPS_HASHES.items()
}


def cache_folder() -> Path:
    """The folder of downloaded weights: aquatint/weights in $XDG_CACHE_HOME, which is ~/.cache if not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aquatint" / "weights"


def find(name: str, folder: str | Path | None = None) -> Path:
    """The file of a network's weights.

    Args:
        name: a key of `FILES`.
        folder: looked into first, before $AQUATINT_WEIGHTS and the user's cache.

    Raises:
        UsageError: there is no such network.
        DependencyError: the file is in none of the folders.
    """
    file = _file(name)
    folders = [Path(f) for f in (folder, os.environ.get("AQUATINT_WEIGHTS"), cache_folder()) if f]
    for place in folders:
        for candidate in (file.name, *file.alternatives):
            if (place / candidate).is_file():
                return place / candidate
    if not file.url:
        raise DependencyError(f"the weights of {name} ({file.name}) are not in {', '.join(map(str, folders))}")
    raise DependencyError(
        f"the weights of {name} ({file.name}) are not in {', '.join(map(str, folders))}: "
        f"run python -m aquatint.perception.weights {name}, or set AQUATINT_WEIGHTS to a folder that has them"
    )


def download(name: str) -> Path:
    """Fetches a file into the user's cache, unless it is there, and checks its hash.

    Raises:
        UsageError: there is no such network, or no such file to download.
        ModelMismatchError: what came is not the file that was asked for.
        OSError: the network or the disk failed.
    """
    file, folder = _file(name), cache_folder()
    path = folder / file.name
    if path.is_file():
        return path
    if not file.url:
        raise UsageError(f"the weights of {name} cannot be downloaded")
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # Under another name until it is complete and checked, so that a broken download is never taken for the file.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
        try:
            with urllib.request.urlopen(file.url, timeout=60) as response:
                while block := response.read(1 << 20):
                    digest.update(block)
                    part.write(block)
            if not digest.hexdigest().startswith(file.sha256):
                raise ModelMismatchError(
                    f"{file.url} has the SHA-256 {digest.hexdigest()}, which should begin with {file.sha256}"
                )
            part.close()
            os.replace(part.name, path)
        except BaseException:
            part.close()
            os.unlink(part.name)
            raise
    return path


def load(name: str, folder: str | Path | None = None) -> dict[str, Tensor]:
    """A network's tensors, on the CPU; those of VGG are called conv1_1.weight and so on, whatever their file says.

    Raises:
        UsageError: there is no such network.
        DependencyError: the file is not there, or the package safetensors that reads it.
    """
    import torch

    path = find(name, folder)
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise DependencyError(f"{path.name} needs safetensors: pip install safetensors") from error
        tensors = _selected(load_file(path), _file(name).prefix)
        return _from_caffe(tensors) if name.startswith("vgg") else tensors
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return _from_torchvision(tensors) if name.startswith("vgg") else tensors


def _selected(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    chosen = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return chosen or tensors


def _from_torchvision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names the convolutions by block; between two blocks one index of torchvision's is that of a pooling layer."""
    indices = sorted(int(key.split(".")[1]) for key in tensors if key.startswith("features.") and "weight" in key)
    named, block, number = {}, 1, 0
    for previous, index in zip([-2, *indices], indices, strict=False):
        if index - previous > 2:
            block, number = block + 1, 0
        number += 1
        for kind in ("weight", "bias"):
            named[f"conv{block}_{number}.{kind}"] = tensors[f"features.{index}.{kind}"]
    return named


def _from_caffe(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for BGR from 0 to 255 less a mean, as ones for RGB normalised by ImageNet's mean and deviation.

    With biases divided by 58, about that deviation, a network of convolutions and ReLU maps x / 58 to its activations
    divided by 58. What is left between the two kinds of input goes into the first layer.
    """
    weight, bias = tensors["conv1_1.weight"].flip(1), tensors["conv1_1.bias"]
    deviations = 255 * weight.new_tensor([0.229, 0.224, 0.225])
    shift = 255 * weight.new_tensor([0.485, 0.456, 0.406]) - weight.new_tensor([123.68, 116.779, 103.939])
    unit = deviations.mean()
    first = {
        "conv1_1.weight": weight * (deviations / unit)[:, None, None],
        "conv1_1.bias": bias + (weight.sum((2, 3)) * shift).sum(1),
    }
    return {key: t / unit if key.endswith("bias") else t for key, t in (tensors | first).items()}


def _file(name: str) -> WeightsFile:
    if name not in FILES:
        raise UsageError(f"weights must be one of {', '.join(FILES)}, not {name!r}")
    return FILES[name]


if __name__ == "__main__":
    for network in sys.argv[1:] or sys.exit(__doc__):
        print(download(network))
