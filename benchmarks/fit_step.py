"""Times a step of the fit: instruction sets, numbers of threads and architectures, against PyTorch in the same run.

    python benchmarks/fit_step.py [--height 512] [--width 768] [--steps 10]

Wall time is the least over the steps. CPU time, that of all threads together, is their median: it says what the work
costs even when other programs share the machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine

ARCHITECTURES = [
    Architecture(context=8, hidden=8, residuals=1),
    Architecture(context=16, hidden=16, residuals=2),
    Architecture(context=12, parents=4, hidden=16, residuals=2),
    Architecture(context=24, hidden=40, residuals=2),
]


def random_engine(height: int, width: int, architecture: Architecture, **options: object) -> Engine:
    generator = np.random.default_rng(0)
    pixels = generator.random((3, height, width), dtype=np.float32)
    engine = create_engine(pixels, architecture, **options)  # type: ignore[arg-type]
    engine.parameters = generator.normal(0, 0.1, engine.parameters.shape).astype(np.float32)
    for k, shape in enumerate(architecture.grid_shapes(height, width)):
        engine.set_latents(k, generator.normal(0, 1, shape).astype(np.float32))
    return engine


def measure(run: Callable[[int], object], steps: int) -> tuple[float, float]:
    """Least wall time and median CPU time of a call, in milliseconds."""
    run(0)
    wall, cpu = [], []
    for i in range(steps):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        run(i)
        wall.append(1e3 * (time.perf_counter() - wall_start))
        cpu.append(1e3 * (time.process_time() - cpu_start))
    return min(wall), float(np.median(cpu))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{arguments.width}x{arguments.height}, milliseconds a step: wall (CPU), and PyTorch's wall time over it")
    for architecture in ARCHITECTURES:
        print(f"\n{architecture}, {architecture.multiplications_per_pixel:.0f} multiplications a pixel")
        print(
            f"{'engine':>10} {'threads':>7} {'joint step':>16} {'frozen latents':>16} {'evaluation':>16} {'ratio':>6}"
        )
        baseline = 0.0
        rows = [("torch", 0), *((isa, threads) for isa in reversed(native.instruction_sets()) for threads in (1, 2))]
        for name, threads in rows:
            options = {"device": "torch"} if name == "torch" else {"isa": name, "threads": threads}
            engine = random_engine(arguments.height, arguments.width, architecture, **options)
            # The engine is bound now, because it is another one in the next row.
            joint = measure(
                lambda i, e=engine: [float(x) for x in e.step(0.3, 1, 1e-3, 1e-2, 1e-3, i)], arguments.steps
            )
            frozen = measure(lambda i, e=engine: [float(x) for x in e.step(0, 0, 1e-3, 0, 1e-3, i)], arguments.steps)
            evaluation = measure(lambda i, e=engine: e.evaluate(), arguments.steps)
            baseline = baseline or joint[0]
            cells = " ".join(f"{wall:>7.1f} ({cpu:>6.1f})" for wall, cpu in (joint, frozen, evaluation))
            print(f"{name:>10} {threads or 'all':>7} {cells} {baseline / joint[0]:>6.1f}", flush=True)


if __name__ == "__main__":
    main()
