"""Many simulated raters on a server that is killed in the middle: is an acknowledged vote ever lost, or counted twice?

    python benchmarks/study_load.py [--raters 200] [--seconds 60] [--think 1.5]

Raters vote over HTTP with keep-alive and send a vote again until it is acknowledged, as the page does. One in ten
acknowledged votes is sent once more. Half-way the server is killed with SIGKILL and started again on the same folder.
At the end the votes in the database are compared with what was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from aquatint.study import database, prepare, sources
from aquatint.study.files import Settings

VOTE = {
    "seconds": 2.0,
    "flips": 2,
    "layout": "flip",
    "viewport_width": 1440,
    "viewport_height": 900,
    "pixel_ratio": 1,
    "zoom": 1,
    "input": "mouse",
}


@dataclass
class Tally:
    """What the raters have seen."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)  # when it began, how long it took
    statuses: Counter[int] = field(default_factory=Counter)
    resent: int = 0
    unanswered: int = 0
    killed: float = 0.0


def make_study(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("reference", "a", "b", "c", "d"):
        for picture in range(24):
            path = folder / "stimuli" / name / f"{picture}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    study = folder / "study"
    settings = Settings(minimum_seconds=0, trials=150, joins_per_minute=10000)
    prepare.new(study, sources.from_folder(folder / "stimuli"), settings)
    return study


def start(study: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "aquatint", "study", "serve", str(study), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return process
        except httpx2.TransportError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


async def rate(address: str, until: float, think: float, tally: Tally) -> None:
    await asyncio.sleep(random.random() * think)
    async with httpx2.AsyncClient(base_url=address, timeout=15) as http:
        page = await persist(http, "GET", "/", tally)
        token = re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]
        await persist(http, "POST", "/join", tally, data={"csrf": token})
        csrf = re.findall(r'name="csrf" content="([^"]+)"', (await persist(http, "GET", "/rate", tally)).text)[0]
        state = (await persist(http, "GET", "/state", tally)).json()
        while state["trials"] and time.monotonic() < until:
            await asyncio.sleep(random.uniform(0.5, 1.5) * think)
            trial = state["trials"][0]["id"]
            choice = random.choice(["left", "right", "neither"])
            body = {**VOTE, "trial": trial, "choice": choice}
            answer = await persist(http, "POST", "/votes", tally, json=body, headers={"x-csrf-token": csrf})
            tally.acknowledged[trial] = choice
            if random.random() < 0.1:
                tally.resent += 1
                answer = await persist(http, "POST", "/votes", tally, json=body, headers={"x-csrf-token": csrf})
            state = answer.json()


async def persist(http: httpx2.AsyncClient, method: str, path: str, tally: Tally, **rest: object) -> httpx2.Response:
    """Sends until there is an answer."""
    while True:
        began = time.perf_counter()
        try:
            answer = await http.request(method, path, **rest)  # type: ignore[arg-type]
        except httpx2.TransportError:
            tally.unanswered += 1
            await asyncio.sleep(0.5)
            continue
        tally.statuses[answer.status_code] += 1
        if path == "/votes" and answer.status_code == 200:
            tally.seconds.append((began, time.perf_counter() - began))
        if answer.status_code in (200, 303):
            return answer
        await asyncio.sleep(0.5)


async def run(options: argparse.Namespace, study: Path, port: int) -> Tally:
    tally = Tally()
    until = time.monotonic() + options.seconds
    address = f"http://127.0.0.1:{port}"
    server = await asyncio.to_thread(start, study, port)
    try:
        raters = [asyncio.create_task(rate(address, until, options.think, tally)) for _ in range(options.raters)]
        await asyncio.sleep(options.seconds / 2)
        tally.killed = time.perf_counter()
        server.kill()
        server.wait()
        print(f"killed after {len(tally.acknowledged)} acknowledged votes", flush=True)
        server = await asyncio.to_thread(start, study, port)
        await asyncio.gather(*raters)
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=1.5, help="mean seconds between votes of a rater")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        tally = asyncio.run(run(options, study, port))
        stored = database.Database(study / database.NAME, read_only=True)
        votes, integrity = stored.votes(), stored.check()
        stored.close()
    lost = [trial for trial in tally.acknowledged if trial not in votes]
    changed = [
        trial for trial, choice in tally.acknowledged.items() if trial in votes and votes[trial].choice != choice
    ]
    unknown = len(votes) - (len(tally.acknowledged) - len(lost))
    began, seconds = np.array(tally.seconds).T
    restarts = ((began > tally.killed - 1) & (began < tally.killed + 10)) | (began < began.min() + 5)
    median, high, worst = np.quantile(seconds[~restarts], [0.5, 0.99, 1]) * 1000
    print(f"{options.raters} raters, {options.seconds:.0f} s: {len(tally.acknowledged)} acknowledged votes")
    print(f"{tally.resent} sent twice, {tally.unanswered} requests without an answer, statuses {dict(tally.statuses)}")
    print(f"in the database {len(votes)}: {len(lost)} lost, {len(changed)} changed, {unknown} never acknowledged")
    print(
        f"votes: median {median:.1f} ms, p99 {high:.1f} ms, worst {worst:.0f} ms, without the 5 s after the start and "
        f"the 10 s after the kill; with them p99 {1000 * np.quantile(seconds, 0.99):.0f} ms; integrity: {integrity}"
    )
    return 1 if lost or changed or unknown or integrity != "ok" else 0


if __name__ == "__main__":
    sys.exit(main())
