"""Times decoding of an overfitted stream: the entropy part, the picture, and the whole.

    PYTHONPATH=src python benchmarks/decode.py [--height 512] [--width 768] [--repeat 30]

The latents are drawn from the model's own distribution: a Laplace distribution whose scale the network gives through
its last bias, at about 0.3 bits a pixel. Its other weights are random and cost the same time as any others. Every time
is the least of the repetitions, because whatever else runs on the machine only ever adds to it.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.stream import Stream, write

SCALE_INDEX = 18  # a Laplace scale of 2^((18 - 40) / 8) = 0.15
EXPONENTS = (8, 8, 10, 8, 8, 10, 10)

ARCHITECTURES = {
    "8 inputs": Architecture(context=8),
    "16 inputs": Architecture(),
    "14 + 2 inputs": Architecture(context=14, parents=2),
    "24 inputs": Architecture(context=24),
    "no noise": Architecture(context=14, parents=2, hidden=24, residuals=1),
    **{f"{z} noise": Architecture(context=14, parents=2, hidden=24, residuals=1, noise=z) for z in (1, 2, 3)},
}


def sample(architecture: Architecture, height: int, width: int) -> Stream:
    """Random parameters, and latents from the distribution that they predict."""
    rng = np.random.default_rng(0)
    parameters = {
        name: np.rint(rng.normal(scale=20, size=shape)).astype(np.int32)
        for name, shape in architecture.arrays().items()
    }
    parameters["w3"][:] = 0
    # The network gives the scale index less 40 in eighths, with 16 fraction bits in the bias.
    parameters["b3"][:] = [0, (SCALE_INDEX - 40) * 2 ** EXPONENTS[1] // 8]
    scale = 2 ** ((SCALE_INDEX - 40) / 8)
    latents = [
        np.rint(rng.laplace(scale=scale, size=shape)).astype(np.int16)
        for shape in architecture.grid_shapes(height, width)
    ]
    return Stream(architecture, parameters, EXPONENTS, latents)


def least_milliseconds(call: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Times decoding of an overfitted stream.")
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeat", type=int, default=30)
    arguments = parser.parse_args()
    height, width, repeat = arguments.height, arguments.width, arguments.repeat

    print("architecture   isa       threads  latents: ms   ns each   picture: ms    whole: ms   times portable")
    for name, architecture in ARCHITECTURES.items():
        stream = sample(architecture, height, width)
        payload = write(stream)
        count = sum(grid.size for grid in stream.latents)
        portable: dict[int, float] = {}
        for isa in native.instruction_sets():
            latents = least_milliseconds(lambda p=payload, i=isa: native.decode_latents(p, height, width, i), repeat)
            for threads in (1, 2):
                whole = least_milliseconds(
                    lambda p=payload, i=isa, t=threads: native.decode(p, height, width, threads=t, isa=i), repeat
                )
                ratio = portable.setdefault(threads, whole) / whole
                times = f"{latents:13.2f} {latents * 1e6 / count:9.1f} {whole - latents:13.2f} {whole:12.2f}"
                print(f"{name:14} {isa:9} {threads:7} {times} {ratio:16.1f}")
        print(f"{'':14} {8 * len(payload) / (height * width):.3f} bits a pixel")


if __name__ == "__main__":
    main()
