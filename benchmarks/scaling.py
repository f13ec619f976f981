"""How the fit scales with the size of the picture and with threads: time and memory a megapixel, against the targets.

    python benchmarks/scaling.py [--megapixels 0.1 0.4 1.6 6 24] [--steps 8]

A step of the decoder `default` on random pictures of 3:2. Time a megapixel should be that of the smallest picture, two
threads should be 1.7 times as fast as one, and memory at most 200 bytes a pixel beside what Python takes anyway.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import time

LIMIT = 200  # bytes a pixel
SPEED_UP = 1.7  # of two threads


def measure(megapixels: float, threads: int, steps: int) -> tuple[float, float]:
    """Seconds a step, the least of several, and bytes a pixel at the peak."""
    from fit_step import random_engine

    from aquatint.codecs.overfitted.presets import LADDER

    height = round(1e3 * math.sqrt(megapixels / 1.5))
    width = round(1e6 * megapixels / height)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = random_engine(height, width, LADDER["default"], threads=threads)
    seconds = []
    for step in range(steps + 1):
        start = time.perf_counter()
        engine.step(0.3, 1, 1e-3, 1e-2, 1e-3, step)
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return min(seconds[1:]), 1024 * (after - before) / (height * width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.1, 0.4, 1.6, 6, 24])
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    print("megapixels ms/step/MP / smallest  2 threads  / 1.7  bytes/px  / 200")
    first = 0.0
    for megapixels in options.megapixels:
        found = []
        for threads in (1, 2):
            # A process of its own, because the peak of memory never falls.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (megapixels, threads, options.steps)))
        (one, _), (two, memory) = found
        pace = 1e3 * two / megapixels
        first = first or pace
        print(
            f"{megapixels:>10g} {pace:>10.1f} {pace / first:>10.2f} {one / two:>9.2f}x {one / two / SPEED_UP:>6.2f} "
            f"{memory:>9.0f} {memory / LIMIT:>6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
