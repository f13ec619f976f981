"""The command line as a process of its own: names of files, terminals, signals, pipes, and what it imports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")

# A program that runs the command line with a codec which stores one colour. With "wait" as its first argument, the
# codec says that it has begun, and then never ends.
STAND_IN = """
import sys, time
from types import SimpleNamespace
import numpy as np
from aquatint import codecs
from aquatint.cli import main
from aquatint.codecs import Progress, Report

mode = sys.argv.pop(1)

def model_hash(model):
    return bytes(8)

def encode(pixels, target, options, **_):
    if mode == "wait":
        print("begun", file=sys.stderr, flush=True)
        time.sleep(60)
    if options.progress is not None:
        options.progress(Progress(7, 10, 0.125, 34.5, 1.0, 75.0))
    if mode == "progress":
        time.sleep(0.5)  # rich draws ten times a second
    return bytes(3), Report(lambda: 34.5, 24.0, 1.0, 10, 0.001)

def decode(payload, header, *, threads):
    return np.zeros((header.height, header.width, 3), np.uint8)

sys.modules["stand_in"] = SimpleNamespace(encode=encode, decode=decode, model_hash=model_hash)
codecs._MODULES["overfitted"] = "stand_in"
try:
    main()
finally:
    if mode == "modules":
        print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def start(mode: str, *arguments: str | bytes | Path, **options: object) -> subprocess.Popen[bytes]:
    """The command line as a process of its own, with the stand-in codec."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # also when run in another folder
    pipes: dict[str, object] = {
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen([sys.executable, "-c", STAND_IN, mode, *arguments], **(pipes | options))  # type: ignore[call-overload]


@posix
def test_progress_is_shown_on_a_terminal_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal_side = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    process = start("progress", "encode", folder / "photo.png", stderr=terminal_side)
    os.close(terminal_side)
    shown = b""
    while True:
        try:
            piece = os.read(controller, 4096)
        except OSError:  # the other side has been closed
            break
        if not piece:
            break
        shown += piece
    os.close(controller)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"")
    plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown)
    assert b"7/10 0.125 bpp 34.50 dB 1:15 left" in plain
    process = start("progress", "encode", folder / "photo.png", folder / "b.aqt")
    _, words = process.communicate(timeout=60)
    assert words.startswith(os.fsencode(folder / "b.aqt") + b": ")
    assert words.count(b"\n") == 1


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(folder: Path, number: signal.Signals, status: int) -> None:
    # A test run in the background hands down an interrupt that is ignored.
    process = start("wait", "encode", folder / "photo.png", preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stderr is not None
    assert process.stderr.readline() == b"begun\n"
    process.send_signal(number)
    out, words = process.communicate(timeout=60)
    assert (process.returncode, out, words) == (status, b"", b"")
    assert os.listdir(folder) == ["photo.png"]


@posix
def test_a_closed_pipe_is_silent(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("plain", "encode", folder / "photo.png", "-", stdout=writing)
    os.close(writing)
    _, words = process.communicate(timeout=60)
    assert (process.returncode, words) == (1, b"")


def test_nothing_needless_is_imported(folder: Path) -> None:
    run_encode = start("modules", "encode", folder / "photo.png")
    _, words = run_encode.communicate(timeout=60)
    assert run_encode.returncode == 0
    assert "numpy" in words.decode().split()  # the list is that of the imported modules
    for command in (
        ("decode", folder / "photo.aqt", folder / "b.png"),
        ("info", folder / "photo.aqt"),
        ("--help",),
    ):
        _, words = start("modules", *command).communicate(timeout=60)
        assert not {"torch", "rich", "pydantic", "scipy"} & set(words.decode().splitlines()[-1].split())


@posix
@pytest.mark.parametrize("name", [b"two words.png", b"line\nbreak.png", b"-q.png", b"$(touch x);.png", b"caf\xe9.png"])
def test_any_name_works(folder: Path, name: bytes) -> None:
    os.rename(os.fsencode(folder / "photo.png"), os.fsencode(folder) + b"/" + name)
    process = start("plain", "encode", "--json", "--", name, cwd=folder)
    out, words = process.communicate(timeout=60)
    assert (process.returncode, words) == (0, b"")
    assert os.fsencode(json.loads(out)["output"]) == name[:-4] + b".aqt"
    assert sorted(os.listdir(os.fsencode(folder))) == sorted([name, name[:-4] + b".aqt"])
    process = start("plain", "info", "--", name, cwd=folder)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words.startswith(b"aquatint: error: ")
    assert words.count(b"\n") == 1
