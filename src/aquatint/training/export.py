"""From a checkpoint to a model that codes: a safetensors file and its card."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from safetensors.numpy import save

from aquatint import api, image
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.model import FORMAT, frozen
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.models import SUFFIX, ModelFile
from aquatint.codecs.target import Target
from aquatint.codecs.transport import model as transport
from aquatint.codecs.transport.architecture import Transport
from aquatint.codecs.transport.network import Network as TransportNetwork
from aquatint.errors import ModelError, UsageError
from aquatint.evaluation.metrics.fidelity import psnr
from aquatint.training import checkpoint
from aquatint.training.data import find_photographs

_QUALITIES = (1, 20, 40, 60, 80, 100)  # of the measured curve


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
    if kind not in ("hyperprior", "transport"):
        raise ModelError(f"{source} is a checkpoint of kind {kind!r}, which cannot be exported")
    try:
        architecture: Architecture | Transport
        network: Network | TransportNetwork
        if kind == "transport":
            architecture = Transport.from_json(state["task"]["architecture"])
            network = TransportNetwork(architecture)
            # The step of training is of no use in a model.
            network.load_state_dict({name: value for name, value in state["mean"].items() if name != "step"})
            content = transport_weights(network.eval())
        else:
            architecture = Architecture.from_json(state["task"]["architecture"])
            network = Network(architecture)
            network.load_state_dict(state["mean"])
            content = weights(network.eval(), float(state["recipe"]["largest_lambda"]))
    except (KeyError, RuntimeError, UsageError) as error:
        raise ModelError(f"{source} is not of a network that this version has: {str(error)[:200]}") from None
    card: dict[str, object] = {
        "name": target.stem,
        "codec": kind,
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "architecture": architecture.to_json(),
        "recipe": state["recipe"],
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


def _file(about: Mapping[str, object], tensors: Mapping[str, np.ndarray]) -> bytes:
    ordered = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
    return save(ordered, {"aquatint": json.dumps(about, sort_keys=True)})


def measured(model: str, codec: str, pictures: Sequence[Path]) -> dict[str, list[dict[str, float]]]:
    """Mean rate in bpp and PSNR in dB of whole files over pictures, of a model and of Pillow's JPEG and WebP."""
    photographs = [image.read(photograph.open()) for photograph in find_photographs(pictures)]

    def own(photograph: image.Image, quality: int) -> tuple[float, float]:
        encoded = api.compress(photograph, Target(quality=quality), codec=codec, model=model)
        return encoded.bpp, encoded.report.psnr

    def classical(photograph: image.Image, quality: int, form: str, **options: object) -> tuple[float, float]:
        samples = np.rint(photograph.pixels * 255).astype(np.uint8)
        file = io.BytesIO()
        PILImage.fromarray(samples).save(file, form, quality=quality, **options)
        decoded = np.asarray(PILImage.open(file).convert("RGB"))
        return 8 * file.tell() / samples[..., 0].size, psnr(samples, decoded)

    coders = {
        "model": (own, _QUALITIES),
        "jpeg": (partial(classical, form="JPEG", optimize=True, progressive=True), (5, 10, 20, 35, 50, 65, 80, 90)),
        "webp": (partial(classical, form="WEBP", method=6), (0, 5, 15, 30, 50, 70, 85, 95)),
    }
    curves = {}
    for name, (coder, qualities) in coders.items():
        means = [np.mean([coder(photograph, quality) for photograph in photographs], 0) for quality in qualities]
        curves[name] = [
            {"quality": quality, "bpp": round(float(bpp), 4), "psnr": round(float(error), 3)}
            for quality, (bpp, error) in zip(qualities, means, strict=True)
        ]
    return curves


def _as_json(card: Mapping[str, object]) -> bytes:
    return (json.dumps(card, indent=2) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
