"""Worker processes for jobs of which some take an hour and some crash the process that runs them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

# Not fork: native code may run threads, which a forked process would wait for in vain.
_CONTEXT = multiprocessing.get_context("spawn")


class Crash(Exception):
    """A worker process ended in the middle of a job."""


class _Worker(Generic[Job, Result]):
    def __init__(self, work: Callable[[Job], Result]) -> None:
        self.connection, other = _CONTEXT.Pipe()
        self.process: BaseProcess = _CONTEXT.Process(target=_serve, args=(other, work), daemon=True)
        self.process.start()
        other.close()
        self.job: Job | None = None

    def begin(self, job: Job) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # it has died already, as `end` will tell
            self.connection.send(job)

    def end(self) -> Result | Crash:
        """What has come of the job."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Crash(f"the process ended with {_cause(self.process.exitcode)}")


def processors() -> int:
    """How many this process may use: a container or `taskset` may leave it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Result | Crash]]:
    """Has jobs done by other processes, and yields each with its result as they finish.

    A process that crashes costs its job only. When the iterator is closed, or the caller is interrupted, what is being
    done is given up.

    Arguments:
        work: a function of a module, which raises nothing.
        jobs: they must pickle.
        workers: processes, at least one.
    """
    waiting = iter(jobs)
    busy: dict[Connection, _Worker[Job, Result]] = {}
    try:
        for job in itertools.islice(waiting, workers):
            _begin(busy, _Worker(work), job)
        while busy:
            for connection in wait(list(busy)):
                worker = busy.pop(connection)  # type: ignore[call-overload]
                job, result = worker.job, worker.end()
                assert job is not None
                following = next(waiting, None)
                if following is not None:
                    _begin(busy, _Worker(work) if isinstance(result, Crash) else worker, following)
                elif not isinstance(result, Crash):
                    worker.connection.close()  # it ends by itself
                yield job, result
    finally:
        for worker in busy.values():
            worker.process.terminate()
            worker.process.join()


def _begin(busy: dict[Connection, _Worker[Job, Result]], worker: _Worker[Job, Result], job: Job) -> None:
    busy[worker.connection] = worker
    worker.begin(job)


def _serve(connection: Connection, work: Callable[[Job], Result]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            job = connection.recv()
            connection.send(work(job))
        except (EOFError, BrokenPipeError):  # the parent has gone
            return


def _cause(status: int | None) -> str:
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        return name + (", as when memory runs out" if name == "SIGKILL" else "")
    return f"status {status}"
