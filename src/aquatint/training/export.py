"""From a checkpoint to a model that codes: a safetensors file and its card."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from aquatint import image
from aquatint.codecs.hyperprior.architecture import Architecture
from aquatint.codecs.hyperprior.model import FORMAT, frozen
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.models import SUFFIX, ModelFile
from aquatint.codecs.target import Target
from aquatint.errors import ModelError, UsageError
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
    if state["task"].get("kind") != "hyperprior":
        raise ModelError(f"{source} is a checkpoint of kind {state['task'].get('kind')!r}, which cannot be exported")
    try:
        architecture = Architecture.from_json(state["task"]["architecture"])
        network = Network(architecture)
        network.load_state_dict(state["mean"])
    except (KeyError, RuntimeError, UsageError) as error:
        raise ModelError(f"{source} is not of a network that this version has: {str(error)[:200]}") from None
    content = weights(network.eval(), float(state["recipe"]["largest_lambda"]))
    card: dict[str, object] = {
        "name": target.stem,
        "codec": "hyperprior",
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
        card["curve"] = measured(str(target), pictures)
        _write(target.with_suffix(".json"), _as_json(card))
    return model


def weights(network: Network, largest_lambda: float) -> bytes:
    """The bytes of a model's file; the same network gives the same bytes.

    Arguments:
        network: on the CPU.
        largest_lambda: of its training, see `aquatint.training.recipes`.
    """
    about = {
        "kind": "hyperprior",
        "format": FORMAT,
        "architecture": network.architecture.to_json(),
        "largest_lambda": largest_lambda,
    }
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(frozen(network).items())}
    return save(tensors, {"aquatint": json.dumps(about, sort_keys=True)})


def measured(model: str, pictures: Sequence[Path]) -> list[dict[str, float]]:
    """Mean rate and PSNR of whole files over pictures, for a few qualities."""
    from aquatint import api

    photographs = [image.read(photograph.open()) for photograph in find_photographs(pictures)]
    curve = []
    for quality in _QUALITIES:
        done = [
            api.compress(photograph, Target(quality=quality), codec="hyperprior", model=model)
            for photograph in photographs
        ]
        curve.append(
            {
                "quality": quality,
                "bpp": float(np.mean([encoded.bpp for encoded in done])),
                "psnr": float(np.mean([encoded.report.psnr for encoded in done])),
            }
        )
    return curve


def _as_json(card: Mapping[str, object]) -> bytes:
    return (json.dumps(card, indent=2) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
