"""Times a step of the fit: instruction sets, numbers of threads and architectures, against PyTorch in the same run.

    python benchmarks/fit_step.py [--height 512] [--width 768] [--steps 10]
    python benchmarks/fit_step.py --tunes psnr wd wd-vgg [--height 384] [--width 384] [--steps 200]

Wall time is the least over the steps. CPU time, that of all threads together, is their median: it says what the work
costs even when other programs share the machine. With `--tunes` it is that of a whole fit over its steps: the warm-up
and the tuning of the networks are in it, what comes before and after is not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aquatint import native
from aquatint.codecs.overfitted import fit
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.engine import Engine, create_engine
from aquatint.codecs.overfitted.fit import Reporter
from aquatint.codecs.overfitted.objective import TUNES
from aquatint.codecs.overfitted.octaves import smoothness
from aquatint.codecs.overfitted.presets import LADDER

ARCHITECTURES = [
    Architecture(context=8, hidden=8, residuals=1),
    Architecture(context=16, hidden=16, residuals=2),
    Architecture(context=12, parents=4, hidden=16, residuals=2),
    Architecture(context=24, hidden=40, residuals=2),
]


def random_engine(
    height: int, width: int, architecture: Architecture, skip_finest: bool = False, **options: object
) -> Engine:
    generator = np.random.default_rng(0)
    pixels = generator.random((3, height, width), dtype=np.float32)
    engine = create_engine(pixels, architecture, skip_finest=skip_finest, **options)  # type: ignore[arg-type]
    engine.parameters = generator.normal(0, 0.1, engine.parameters.shape).astype(np.float32)
    for k, shape in enumerate(architecture.grid_shapes(height, width)):
        latents = np.zeros(shape) if skip_finest and k == 0 else generator.normal(0, 1, shape)
        engine.set_latents(k, latents.astype(np.float32))
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


def compare_tunes(tunes: list[str], height: int, width: int, steps: int) -> None:
    """Prints the mean time of a step of a whole fit for objectives, on one thread, and that over the first one's."""
    planes = np.random.default_rng(0).random((3, height, width), dtype=np.float32)
    print(f"{width}x{height}, {steps} steps, one thread: milliseconds of processor time a step")
    for name, skip_finest in (("least", False), ("fast", False), ("default", False), ("fast", True), ("default", True)):
        baseline = 0.0
        for tune in tunes:
            objective = TUNES[tune]
            architecture = replace(LADDER[name], noise=objective.noise if objective else 0)
            engine = random_engine(height, width, architecture, skip_finest=skip_finest, threads=1)
            distortion = None
            if objective:
                distortion = objective.distortion(planes, None, skip_finest=skip_finest, device="cpu", threads=1)
            finest = architecture.grid_shapes(height, width)[skip_finest]
            separation = smoothness(planes, finest) if objective else None
            reporter = Reporter(None, steps, height * width)
            tuning = round(fit.TUNING_SHARE * steps)
            start = time.process_time()
            fit.fit(engine, steps - tuning, 1e-2, None, 0, reporter, distortion, separation=separation)
            fit.tune(engine, tuning, 1e-2, reporter, distortion)
            spent = 1e3 * (time.process_time() - start) / steps
            baseline = baseline or spent
            grids = "without the finest grid" if skip_finest else ""
            print(f"{name:>10} {tune:>8} {spent:8.1f} {spent / baseline:6.2f} {grids}".rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--tunes", nargs="+", choices=TUNES, help="compare objectives instead")
    arguments = parser.parse_args()
    if arguments.tunes:
        compare_tunes(arguments.tunes, arguments.height, arguments.width, arguments.steps)
        return
    print(f"{arguments.width}x{arguments.height}, milliseconds a step: wall (CPU), and PyTorch's wall time over it")
    for architecture in ARCHITECTURES:
        multiplications = architecture.multiplications_per_pixel([True] * architecture.grids)
        print(f"\n{architecture}, {multiplications:.0f} multiplications a pixel")
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
