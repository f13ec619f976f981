"""The overfitted stream: bytes that are no stream."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import (
    LATENT_SCALE,
    TINY,
    TINY_PARAMETERS,
    ZERO_PARAMETER,
    number_intervals,
    rans_encode,
    synthetic_stream,
    tiny_header,
)

from aquatint import native
from aquatint.codecs.overfitted.architecture import Architecture
from aquatint.codecs.overfitted.stream import Stream, write
from aquatint.errors import CorruptStreamError, FileFormatError, TruncatedError, UnsupportedFeatureError

ISAS = native.instruction_sets()
PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SMALL = write(synthetic_stream(Architecture(grids=3, context=6, parents=2, hidden=4, residuals=1), 19, 23, seed=7))


def with_byte(position: int, value: int) -> bytes:
    return SMALL[:position] + bytes([value]) + SMALL[position + 1 :]


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (b"", TruncatedError, "the stream has 0 bytes, fewer than the 29 of its fixed part"),
        (SMALL[:28], TruncatedError, "the stream has 28 bytes"),
        (SMALL[:60], TruncatedError, "60 bytes end at number .* of the 144 entropy weights"),
        (SMALL[:-1], TruncatedError, "the stream ends in grid 0, rows from 16 of 19"),
        (SMALL + b"\0", CorruptStreamError, "1 bytes are left after the last latent"),
        (with_byte(0, 0x10), CorruptStreamError, "number of grids is 0, outside 1 to 9"),
        (with_byte(0, 0x1A), CorruptStreamError, "number of grids is 10, outside 1 to 9"),
        (with_byte(0, 0x53), CorruptStreamError, "number of residual layers is 5, outside 0 to 4"),
        (with_byte(1, 25), CorruptStreamError, "number of causal neighbours is 25, outside 0 to 24"),
        (with_byte(1, 3 | 5 << 5), CorruptStreamError, "number of parents is 5, outside 0 to 4"),
        (with_byte(1, 8 | 2 << 5), CorruptStreamError, "the entropy network has 10 inputs, not 8, 16 or 24"),
        (with_byte(2, 0), CorruptStreamError, "hidden width is 0, outside 4 to 64"),
        (with_byte(2, 68), CorruptStreamError, "hidden width is 68, outside 4 to 64"),
        (tiny_header(0)[:2] + b"\x06" + SMALL[3:], CorruptStreamError, "number of noise grids is 2, outside 0 to 1"),
        (with_byte(3, 1), UnsupportedFeatureError, "origin 1 is not known for networks of these sizes"),
        (with_byte(4, 11), CorruptStreamError, "step exponent of the entropy weights is 11, outside 0 to 10"),
        (with_byte(11, 8), CorruptStreamError, "mask of grids is 8, outside 0 to 7"),
        (with_byte(12, 1), CorruptStreamError, "mask of grids is 263, outside 0 to 7"),
        (with_byte(16, 0), CorruptStreamError, "a state of the entropy coder is .*, outside 16777216 to 4294967295"),
        (
            tiny_header(0)[:6] + b"\x01" + tiny_header(0)[7:] + b"\xff" * 16,
            CorruptStreamError,
            "exponent of the upsampling is 1",
        ),
        (
            tiny_header(0)[:6] + b"\x10" + tiny_header(0)[7:] + b"\xff" * 16,
            CorruptStreamError,
            "code scale of the absent upsampling is 1",
        ),
    ],
)
def test_names_what_is_wrong(payload: bytes, error: type[FileFormatError], message: str) -> None:
    with pytest.raises(error, match=message):
        native.decode(payload, 19, 23)


ZEROS = ZERO_PARAMETER * TINY_PARAMETERS


def test_symbols_written_by_hand() -> None:
    """The two encoders agree, so the hand-written faults below fail for the reason that they name."""
    payload = tiny_header(1) + rans_encode(ZEROS + number_intervals(-511, LATENT_SCALE))
    (grid,) = native.decode_latents(payload, 1, 1)
    assert grid.tolist() == [[-511]]
    parameters = {name: np.zeros(shape, np.int32) for name, shape in TINY.arrays().items()}
    assert write(Stream(TINY, parameters, (0,) * 7, [np.array([[-511]], np.int16)])) == payload


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("latent", [512, -512, 65535, -32768])
def test_refuses_latents_out_of_range(latent: int, isa: str) -> None:
    payload = tiny_header(1) + rans_encode(
        ZEROS + number_intervals(0, LATENT_SCALE) + number_intervals(latent, LATENT_SCALE)
    )
    with pytest.raises(CorruptStreamError, match=rf"rows from 0 of 1 is {latent}, outside -511 to 511"):
        native.decode(payload, 1, 2, isa=isa)


@pytest.mark.parametrize("value", [32, -32, 65535])
def test_refuses_parameters_out_of_range(value: int) -> None:
    payload = tiny_header(0) + rans_encode(ZEROS[:5] + number_intervals(value, 4) + ZEROS[6:])
    with pytest.raises(CorruptStreamError, match=rf"entropy weights is {value}, outside -31 to 31"):
        native.decode(payload, 1, 1)


def test_refuses_wrong_final_states() -> None:
    assert native.decode(tiny_header(0) + rans_encode(ZEROS), 1, 1).tolist() == [[[128, 128, 128]]]
    with pytest.raises(CorruptStreamError, match="a final state of the entropy coder is 16777217, outside 16777216 to"):
        native.decode(tiny_header(0) + rans_encode(ZEROS, floor=2**24 + 1), 1, 1)


def test_every_truncation_is_an_error() -> None:
    for length in range(len(SMALL)):
        with pytest.raises(TruncatedError):
            native.decode(SMALL[:length], 19, 23)


@settings(PROPERTY, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_ends_in_an_error_or_in_the_same_picture_everywhere(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(SMALL)
    for position, value in changes:
        damaged[position] = value
    outcomes = []
    for isa in ISAS:
        try:
            latents = native.decode_latents(bytes(damaged), 19, 23, isa=isa)
            outcomes.append([grid.tolist() for grid in latents])
            assert native.decode(bytes(damaged), 19, 23, isa=isa).shape == (19, 23, 3)
        except FileFormatError as error:
            outcomes.append(str(error))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@settings(PROPERTY, max_examples=60)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_never_crash(junk: bytes, with_header: bool) -> None:
    payload = SMALL[:13] + junk if with_header else junk
    for isa in ISAS:
        with pytest.raises(FileFormatError):
            native.decode(payload, 8192, 8192, isa=isa)


def test_random_bytes_take_little_memory() -> None:
    """A large picture's buffers are not taken before the stream has earned them."""
    program = """
import random, resource, sys
from aquatint import native
from aquatint.errors import FileFormatError
header = bytes.fromhex(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for seed in range(50):
    try:
        native.decode(header + random.Random(seed).randbytes(20000), 8192, 8192)
    except FileFormatError:
        continue
    sys.exit("random bytes became a picture")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", program, SMALL[:13].hex()], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 300_000  # KiB


@pytest.mark.parametrize("exponent", [0, 15])
def test_absurd_parameters_give_a_picture(exponent: int) -> None:
    """Infinities on the way must not become undefined conversions."""
    architecture = Architecture(grids=9, context=21, parents=3, hidden=64, residuals=2)
    stream = synthetic_stream(architecture, 20, 30, seed=0)
    absurd = {name: stream.parameters[name] for name in ("w1", "w2", "w3", "b1", "b2", "b3")}
    for name in ("taps", "s1", "s2", "t1", "t2", "r", "u"):
        absurd[name] = np.sign(stream.parameters[name]) * 32767
    exponents = stream.exponents[:2] + (exponent,) * 5
    payload = write(replace(stream, parameters=absurd, exponents=exponents))
    for isa in ISAS:
        assert native.decode(payload, 20, 30, isa=isa).shape == (20, 30, 3)
