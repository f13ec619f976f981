"""Times encoding and decoding with networks of the hyperprior family, against the same networks in plain PyTorch.

    PYTHONPATH=src python benchmarks/hyperprior.py [--height 512] [--width 768] [--repeat 7] [--threads 2] [NAME...]

Plain PyTorch is what one writes first: float networks in the default memory format, a loop over positions for the
autoregressive one, and no entropy coder at all, so that a codec made of it is slower than its figures here. Ours are
whole files, entropy coder and checksums included. Weights are random; the time hardly depends on them. Every time is
the shortest of the repetitions, which take turns: whatever else the machine does can only add.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import aquatint
from aquatint.codecs.hyperprior.architecture import ARCHITECTURES
from aquatint.codecs.hyperprior.context import MARGIN, Autoregressive
from aquatint.codecs.hyperprior.network import Network
from aquatint.codecs.hyperprior.transforms import UNIT
from aquatint.training.export import weights


def plain(network: Network, pixels: Tensor) -> tuple[Callable[[], object], Callable[[], object]]:
    """Encoding and decoding without an entropy coder."""
    for layer in network.requires_grad_(False).modules():
        if isinstance(layer, nn.ConvTranspose2d):  # ours have faster forms for some
            layer.forward = partial(nn.ConvTranspose2d.forward, layer)
    step = torch.tensor([network.architecture.max_step**0.5])
    rate, width = network.rate(step), float(step) * UNIT

    def quantise(latents: Tensor, mean: Tensor) -> Tensor:
        return torch.round((latents - mean) / width) * width + mean

    def entropy_model(hyper: Tensor, latents: Tensor) -> Tensor:
        features = network.features(hyper, step, latents.shape[2:])
        if isinstance(network.context, Autoregressive):
            return position_by_position(network.context, features, latents, quantise)
        mean, _ = network.context(features, latents, latents, quantise)
        return quantise(latents, mean)

    def encode() -> tuple[Tensor, Tensor]:
        latents = network.latents(pixels, rate)
        hyper = torch.round(network.hyper_latents(latents))
        return hyper, entropy_model(hyper, latents)

    hyper, latents = encode()

    def decode() -> Tensor:
        return network.pixels(entropy_model(hyper, latents), rate)

    return encode, decode


def position_by_position(
    context: Autoregressive, features: Tensor, latents: Tensor, quantise: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    known = functional.pad(torch.zeros_like(latents), [MARGIN] * 4)
    weight, bias = context.neighbours.weight * context.neighbours.mask, context.neighbours.bias
    for y in range(latents.shape[2]):
        for x in range(latents.shape[3]):
            window = known[:, :, y : y + 2 * MARGIN + 1, x : x + 2 * MARGIN + 1]
            here = torch.cat([features[:, :, y : y + 1, x : x + 1], functional.conv2d(window, weight, bias)], 1)
            _, mean = context.parameters_net(here).chunk(2, 1)
            place = latents[:, :, y : y + 1, x : x + 1]
            known[:, :, y + MARGIN : y + MARGIN + 1, x + MARGIN : x + MARGIN + 1] = quantise(place, mean)
    return known[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def shortest(calls: Sequence[Callable[[], object]], repeat: int) -> list[float]:
    """Seconds of each call."""
    times = [math.inf] * len(calls)
    for turn in range(repeat + 1):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn > 0:
                times[k] = min(times[k], time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the hyperprior codec against plain PyTorch.")
    parser.add_argument("names", nargs="*", default=["scale-hyperprior", "mean-scale", "autoregressive", "compact"])
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, options.height // 8, options.width // 8)
    pixels = functional.interpolate(coarse, (options.height, options.width), mode="bilinear")
    picture = aquatint.from_array(pixels[0].permute(1, 2, 0).mul(255).byte().numpy())
    print("network              plain encode   decode   ours encode   decode   (seconds)")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AQUATINT_MODELS"] = folder
        for name in options.names:
            network = Network(ARCHITECTURES[name]).eval()
            path = Path(folder) / f"{name}.safetensors"
            path.write_bytes(weights(network, 0.06))

            def encode(path: Path = path) -> aquatint.Encoded:
                target = aquatint.Target(quality=50)
                chosen = aquatint.Options(model=str(path), threads=options.threads)
                return aquatint.compress(picture, target, chosen, codec="hyperprior")

            data = encode().data
            calls = [*plain(network, pixels), encode, lambda data=data: aquatint.decode(data, threads=options.threads)]
            seconds = shortest(calls, options.repeat)
            print(f"{name:20} {seconds[0]:12.3f} {seconds[1]:8.3f} {seconds[2]:13.3f} {seconds[3]:8.3f}", flush=True)


if __name__ == "__main__":
    main()
