"""One codec, one rate, one picture: the smallest piece of a run, and its result on disk.

The folder of a job is named by a hash of all that its file depends on. It holds the file, the decoded picture, and
`record.json`, which is written last: with it the job is done, and another run with the same inputs takes it as it is.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aquatint.errors import AquatintError, DependencyError
from aquatint.evaluation import coders, metrics, originals, search
from aquatint.evaluation.coders import Coder
from aquatint.evaluation.search import OutOfReachError

RECORD = "record.json"
DECODED = "decoded.png"
SHORT = 1.0  # seconds: what is done faster is timed again, up to three times, and the least time counts

Value = TypeVar("Value")


@dataclass(frozen=True)
class Job:
    """A job.

    Attributes:
        coder: the codec with its settings.
        bpp: rate to aim for.
        original: the picture's file, which `originals.take` wrote.
        folder: of the result.
        metrics: names of those that compare two pictures.
        threads: for encoder and decoder.
        device: where networks of metrics compute.
    """

    coder: Coder
    bpp: float
    original: Path
    folder: Path
    metrics: tuple[str, ...]
    threads: int
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """What has come of a job.

    Attributes:
        status: "ok", "out of reach", "missing" (a codec is not installed) or "failed".
        record: what was measured, empty but for "ok".
        error: why there is nothing, or which metrics are lacking and why.
    """

    status: str
    record: Mapping[str, Any]
    error: str | None = None


def key(description: Mapping[str, object], bpp: float, digest: str) -> str:
    """Twenty hexadecimal digits of all that a file depends on: codec, version, settings, rate and pixels."""
    content = json.dumps([1, description, bpp, digest], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def finished(job: Job) -> Outcome | None:
    """The outcome of a job whose files are all there, undamaged and with all of its metrics; else None."""
    record = _read(job)
    if record is None:
        return None
    if "out of reach" in record:
        return Outcome("out of reach", {}, record["out of reach"])
    return None if set(job.metrics) - set(record["metrics"]) else Outcome("ok", record)


def execute(job: Job) -> Outcome:
    """Does what is left of a job; whatever goes wrong is in the outcome."""
    try:
        record = _read(job) or _code(job)
        return finished(job) or _measure(job, record)
    except DependencyError as error:
        return Outcome("missing", {}, str(error))
    except MemoryError:
        return Outcome("failed", {}, "not enough memory")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Outcome("failed", {}, f"{where}{error.strerror or error}")
    except AquatintError as error:
        return Outcome("failed", {}, str(error))
    except Exception as error:  # of codecs that are not ours
        return Outcome("failed", {}, f"{type(error).__name__}: {error}")


def _read(job: Job) -> dict[str, Any] | None:
    try:
        record = json.loads((job.folder / RECORD).read_text())
        if "out of reach" in record:
            return record
        data = (job.folder / f"file{job.coder.extension}").read_bytes()
        decoded = (job.folder / DECODED).stat().st_size
    except (OSError, ValueError):
        return None
    if hashlib.sha256(data).hexdigest() != record["sha256"] or decoded != record["decoded_bytes"]:
        return None
    if record["metrics_code"] != metrics_fingerprint():
        record |= {"metrics_code": metrics_fingerprint(), "metrics": {}}
    return record


def _code(job: Job) -> dict[str, Any]:
    pixels = originals.load_png(job.original)
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        coded, memory = _with_peak_memory(lambda: job.coder.encode(pixels, job.bpp, threads=job.threads))
        search.check_reach(8 * len(coded.data), job.bpp * pixels[..., 0].size)
    except OutOfReachError as error:
        record = {"out of reach": str(error)}  # as it will always be
        _write(job, record)
        return record
    decoded, decode_seconds = _timed(lambda: job.coder.decode(coded.data, threads=job.threads))
    if decoded.shape != pixels.shape or decoded.dtype != np.uint8:
        raise AquatintError(f"decoded to {decoded.dtype} of shape {decoded.shape}, not uint8 of {pixels.shape}")
    originals.write(job.folder / f"file{job.coder.extension}", coded.data)
    originals.save_png(decoded, job.folder / DECODED)
    record = {
        "bytes": len(coded.data),
        "bpp": 8 * len(coded.data) / pixels[..., 0].size,
        "setting": coded.setting,
        "trials": coded.trials,
        "encode_seconds": coded.seconds,
        "decode_seconds": decode_seconds,
        "encode_memory_mib": memory,
        "threads": job.threads,
        "multiplications_per_pixel": coded.multiplications_per_pixel,
        "sha256": hashlib.sha256(coded.data).hexdigest(),
        "decoded_bytes": (job.folder / DECODED).stat().st_size,
        "metrics_code": metrics_fingerprint(),
        "metrics": {},
    }
    _write(job, record)  # before metrics, which may take longer than coding
    return record


def _write(job: Job, record: Mapping[str, Any]) -> None:
    originals.write(job.folder / RECORD, json.dumps(record, indent=1).encode())


def _measure(job: Job, record: dict[str, Any]) -> Outcome:
    """Adds the metrics that are lacking. One that fails is tried again in the next run."""
    reference, distorted = originals.load_png(job.original), originals.load_png(job.folder / DECODED)
    lacks = []
    for name in job.metrics:
        if name in record["metrics"]:
            continue
        try:
            value = metrics.measure(reference, distorted, [name], device=job.device)[name]
        except Exception as error:  # the file and the other metrics are worth having all the same
            lacks.append(f"{name}: {error}")
            continue
        record["metrics"][name] = value if math.isfinite(value) else None  # the PSNR of equal pictures
    _write(job, record)
    return Outcome("ok", record, "; ".join(lacks) or None)


def _timed(function: Callable[[], Value]) -> tuple[Value, float]:
    """A function's value, and the seconds that it takes."""
    times: list[float] = []
    while True:
        start = time.perf_counter()
        value = function()
        times.append(time.perf_counter() - start)
        if len(times) == 3 or sum(times) > SHORT:
            return value, min(times)


def _with_peak_memory(function: Callable[[], Value]) -> tuple[Value, float | None]:
    """A function's value, and by how many MiB this process grew at most; None where the system does not tell."""
    try:
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # what earlier jobs have freed
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
        before = _memory("VmRSS")
    except (OSError, TypeError):  # other systems than Linux
        return function(), None
    value = function()
    return value, max(0.0, _memory("VmHWM") - before)


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


@functools.cache
def metrics_fingerprint() -> str:
    """Twelve hexadecimal digits of the code that measures, so that values of other code are not reused."""
    return coders.fingerprint("evaluation/metrics/*.py", "perception/**/*.py")
