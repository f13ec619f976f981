"""From a checkpoint to a model that codes: a safetensors file and its card."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import features
from safetensors.numpy import save
from torch import Tensor, nn

from aquatint import api, image
from aquatint.codecs.extreme import model as extreme
from aquatint.codecs.extreme import sampler
from aquatint.codecs.extreme.architecture import Extreme
from aquatint.codecs.extreme.network import Network as ExtremeNetwork
from aquatint.codecs.extreme.sampler import Sampler, Shape
from aquatint.codecs.hyperprior import generators
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.model import FORMAT, frozen
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.hyperprior.transforms import Transform, synthesis
from aquatint.codecs.models import DEFAULTS, SUFFIX, ModelFile
from aquatint.codecs.options import Options
from aquatint.codecs.target import Target
from aquatint.codecs.transport import model as transport
from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.network import Network as TransportNetwork
from aquatint.errors import ModelError, UsageError
from aquatint.evaluation.metrics.fidelity import SMALLEST_SIDE, ms_ssim, psnr
from aquatint.training import checkpoint
from aquatint.training.data import find_photographs

_QUALITIES = (1, 15, 30, 45, 60, 80, 100)  # of the measured curve


def export(
    source: Path,
    target: Path,
    *,
    licence: str,
    data: str,
    pictures: Sequence[Path] = (),
) -> ModelFile:
    """Writes a model and its card.

    Arguments:
        source: a checkpoint, or the folder of a run, whose best one is taken.
        target: the weights file; its card has the same stem.
        licence: of the weights, in words.
        data: what they were trained on, in words.
        pictures: folders or pictures to measure rates and errors on for the card; none to leave the curve out.

    Raises:
        ModelError: the checkpoint is not of a network that can be exported.
        UsageError: the target has another extension.
        OSError: the files cannot be written.
    """
    if target.suffix != SUFFIX:
        raise UsageError(f"a model's file ends in {SUFFIX}, not {target.suffix!r}")
    state = checkpoint.load(source)
    kind = state["task"].get("kind")
    if kind not in _READERS:
        raise ModelError(f"{source} is a checkpoint of kind {kind!r}, which cannot be exported")
    if pictures and kind not in DEFAULTS:
        raise UsageError(f"a {kind} has no rates of its own to measure: they are those of its model")
    try:
        network, content, about = _READERS[kind](state)
    except (KeyError, TypeError, RuntimeError, UsageError) as error:
        noun = "network" if kind in DEFAULTS else kind
        raise ModelError(f"{source} is not of a {noun} that this version has: {str(error)[:200]}") from None
    card: dict[str, object] = {
        "name": target.stem,
        **about,
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "recipe": {name: _without_folders(value) for name, value in state["recipe"].items()},
        "steps": state["step"],
        "data": data,
        "licence": licence,
    }
    _write(target, content)
    _write(target.with_suffix(".json"), _as_json(card))
    model = ModelFile(target)
    if pictures:
        card["curves"] = measured(str(target), kind, pictures)
        _write(target.with_suffix(".json"), _as_json(card))
    return model


def _without_folders(value: object) -> object:
    """A recipe's value; of an absolute path only the name, since the rest says nothing but where it was trained."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


# What a checkpoint holds: the trained network, the bytes of its file, and what its card says about it.
_Export = tuple[nn.Module, bytes, Mapping[str, object]]


def _hyperprior(state: Mapping[str, Any]) -> _Export:
    network = Network(Architecture.from_json(state["task"]["architecture"]))
    network.load_state_dict(state["mean"])
    content = weights(network.eval(), float(state["recipe"]["largest_lambda"]))
    return network, content, {"codec": "hyperprior", "architecture": network.architecture.to_json()}


def _transport(state: Mapping[str, Any]) -> _Export:
    network = TransportNetwork(Transport.from_json(state["task"]["architecture"]))
    # The step of training is of no use in a model.
    network.load_state_dict({name: value for name, value in state["mean"].items() if name != "step"})
    about = {"codec": "transport", "architecture": network.architecture.to_json()}
    return network, transport_weights(network.eval()), about


def _extreme(state: Mapping[str, Any]) -> _Export:
    network = ExtremeNetwork(Extreme.from_json(state["task"]["architecture"]))
    network.load_state_dict(state["mean"])
    about = {"codec": "extreme", "architecture": network.architecture.to_json()}
    return network, extreme_weights(network.eval()), about


def _generator(state: Mapping[str, Any]) -> _Export:
    task = state["task"]
    architecture = Architecture.from_json(task["architecture"])
    network = synthesis(architecture)
    network.load_state_dict(state["mean"])
    content = generator_weights(network.eval(), task["name"], bytes.fromhex(task["encoder"]), architecture)
    about = {"codec": "hyperprior", "generator": task["name"], "encoder": task["encoder"]}
    return network, content, about | {"architecture": architecture.to_json()}


def _sampler(state: Mapping[str, Any]) -> _Export:
    task = state["task"]
    network = Sampler(Shape(**task["shape"]))
    network.load_state_dict(state["mean"])
    about = {"kind": "sampler", "format": sampler.FORMAT, "encoder": task["encoder"], "shape": task["shape"]}
    content = _file(about, {name: _half(value) for name, value in network.state_dict().items()})
    return network, content, {"codec": "extreme", "sampler": task["shape"], "encoder": task["encoder"]}


_READERS: dict[str, Callable[[Mapping[str, Any]], _Export]] = {
    "hyperprior": _hyperprior,
    "transport": _transport,
    "extreme": _extreme,
    "generator": _generator,
    "sampler": _sampler,
}


def generator_weights(network: Transform, name: str, encoder: bytes, architecture: Architecture) -> bytes:
    """The bytes of a generator's file; the same generator gives the same bytes.

    Arguments:
        network: a synthesis of the architecture, on the CPU.
        name: by which it will be chosen.
        encoder: hash of the model that it belongs to.
        architecture: of which it is the synthesis.
    """
    about = {
        "kind": "generator",
        "format": generators.FORMAT,
        "name": name,
        "encoder": encoder.hex(),
        "architecture": architecture.to_json(),
    }
    return _file(about, generators.tensors(network))


def weights(network: Network, largest_lambda: float) -> bytes:
    """The bytes of a model's file; the same network gives the same bytes.

    Arguments:
        network: on the CPU.
        largest_lambda: of its training, see `aquatint.training.recipes`.
    """
    about = {"kind": "hyperprior", "format": FORMAT, "largest_lambda": largest_lambda}
    return _file(about | {"architecture": network.architecture.to_json()}, frozen(network))


def transport_weights(network: TransportNetwork) -> bytes:
    """The bytes of the file of a model of the transport codec; the network is on the CPU."""
    about = {"kind": "transport", "format": transport.FORMAT, "architecture": network.architecture.to_json()}
    return _file(about, transport.frozen(network))


def extreme_weights(network: ExtremeNetwork) -> bytes:
    """The bytes of the file of a model of the extreme codec; the network is on the CPU."""
    about = {"kind": "extreme", "format": extreme.FORMAT, "architecture": network.architecture.to_json()}
    return _file(about, extreme.frozen(network))


def _file(about: Mapping[str, object], tensors: Mapping[str, np.ndarray]) -> bytes:
    ordered = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
    return save(ordered, {"aquatint": json.dumps(about, sort_keys=True)})


def measured(model: str, codec: str, pictures: Sequence[Path]) -> dict[str, list[dict[str, float]]]:
    """Rates of whole files in bpp, PSNR in dB and MS-SSIM of a model and of Pillow's coders, as means over pictures.

    MS-SSIM is left out if a picture is too small for it, and AVIF if this Pillow has none.
    """

    def samples(picture: image.Image) -> np.ndarray:
        return np.rint(picture.pixels * 255).astype(np.uint8)

    photographs = [samples(image.read(photograph.open())) for photograph in find_photographs(pictures)]
    metrics = {"psnr": psnr}
    if min(min(photograph.shape[:2]) for photograph in photographs) >= SMALLEST_SIDE:
        metrics["ms_ssim"] = ms_ssim

    def own(photograph: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        target = Target(quality=quality)
        encoded = api.compress(image.from_array(photograph), target, Options(model=model), codec=codec)
        return len(encoded.data), samples(api.decode(encoded.data))

    def classical(photograph: np.ndarray, quality: int, form: str, **options: object) -> tuple[int, np.ndarray]:
        file = io.BytesIO()
        PILImage.fromarray(photograph).save(file, form, quality=quality, **options)
        return file.tell(), np.asarray(PILImage.open(file).convert("RGB"))

    coders = {
        "model": (own, _QUALITIES),
        "jpeg": (partial(classical, form="JPEG", optimize=True, progressive=True), (5, 10, 20, 35, 50, 65, 80, 90)),
        "webp": (partial(classical, form="WEBP", method=6), (0, 5, 15, 30, 50, 70, 85, 95)),
    }
    if features.check("avif"):
        coders["avif"] = partial(classical, form="AVIF", speed=4, subsampling="4:4:4"), (5, 15, 25, 40, 55, 70, 80)

    def point(coder: Callable[[np.ndarray, int], tuple[int, np.ndarray]], quality: int) -> dict[str, float]:
        found = []
        for photograph in photographs:
            size, decoded = coder(photograph, quality)
            values = [metric(photograph, decoded) for metric in metrics.values()]
            found.append([8 * size / photograph[..., 0].size, *values])
        means = np.mean(found, 0)
        return {"quality": quality} | {
            name: round(float(x), 4) for name, x in zip(["bpp", *metrics], means, strict=True)
        }

    return {name: [point(coder, quality) for quality in qualities] for name, (coder, qualities) in coders.items()}


def _half(values: Tensor) -> np.ndarray:
    """Real numbers with 16 bits, others as they are."""
    return values.half().numpy() if values.is_floating_point() else values.numpy()


def _as_json(card: Mapping[str, object]) -> bytes:
    return (json.dumps(card, indent=2) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
