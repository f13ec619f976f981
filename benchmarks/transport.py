"""Times semi-discrete optimal transport against the solvers of POT (pip install POT), on one source and one target.

    PYTHONPATH=src python benchmarks/transport.py [--codes 4096] [--dimensions 32] [--tolerance 0.03] [--steps 300]

The source is the uniform cube, the codes are of ten modes. All errors are measured in the same way, on fresh samples.
Processor seconds are those of all threads: unlike the time on the clock they do not depend on what else runs.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from aquatint.transport import power, semidiscrete


def ten_modes(count: int, dimensions: int) -> np.ndarray:
    """Codes of a mixture of ten Gaussians, with the cube's variance in each dimension."""
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(10, dimensions))
    codes = centres[chance.integers(10, size=count)] + chance.normal(scale=0.25, size=(count, dimensions))
    return (codes - codes.mean(0)) / (codes.std(0) * np.sqrt(12))


def report(name: str, codes: np.ndarray, solve: Callable[[], np.ndarray]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    heights = solve()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    points = semidiscrete.cube(codes.shape[1])(2**20, np.random.default_rng(1))
    counts = np.bincount(power.cells(points, codes, heights), minlength=len(codes))
    error = semidiscrete.relative_error(counts, np.full(len(codes), 1 / len(codes)))
    print(f"{name:24} {wall:8.1f} s {processor:8.1f} s  error {error:7.2%}  empty {(counts == 0).sum()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Times semi-discrete optimal transport.")
    parser.add_argument("--codes", type=int, default=4096)
    parser.add_argument("--dimensions", type=int, default=32)
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--steps", type=int, default=300, help="steps of POT, of 2048 samples each")
    arguments = parser.parse_args()
    codes = ten_modes(arguments.codes, arguments.dimensions)
    cube = semidiscrete.cube(arguments.dimensions)
    report("aquatint", codes, lambda: semidiscrete.solve(codes, cube, tolerance=arguments.tolerance).heights)
    try:
        import ot
    except ModuleNotFoundError:
        print("POT is not installed")
        return
    chance = np.random.default_rng(2)

    def by_pot(**options: object) -> np.ndarray:
        weights = ot.semidiscrete.solve_semidiscrete(
            codes,
            sampler_source=lambda count: cube(count, chance).astype(np.float64),
            max_iter=arguments.steps,
            batch_size=2048,
            **options,
        )
        weights = weights[0] if isinstance(weights, tuple) else weights
        return power.heights_of_weights(np.asarray(weights), codes)

    report("POT, default", codes, by_pot)
    report("POT, without entropy", codes, lambda: by_pot(decreasing_reg=False))


if __name__ == "__main__":
    main()
