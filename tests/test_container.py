"""The file format: round trips, and an error for every way in which a file can be wrong."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aquatint import container
from aquatint.container import CODEC_IDS, NO_MODEL, Chunk, Header, probe, read, write
from aquatint.errors import (
    BadMagicError,
    ChecksumError,
    CorruptStreamError,
    FileFormatError,
    LimitError,
    TruncatedError,
    UnsupportedFeatureError,
    UnsupportedVersionError,
    UsageError,
)

HEADER = Header("overfitted", 768, 512)
FULL_HEADER = Header("hyperprior", 65535, 200, depth=16, grayscale=True, alpha=True, model_hash=b"01234567")
FULL_CHUNKS = {
    Chunk.PAYLOAD: bytes(range(200)),
    Chunk.ALPHA: b"alpha",
    Chunk.ICC: b"",
    Chunk.EXIF: b"II*\0",
    Chunk.XMP: b"<x/>",
}

headers = st.builds(
    Header,
    codec=st.sampled_from(sorted(CODEC_IDS)),
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    depth=st.sampled_from([8, 16]),
    grayscale=st.booleans(),
    alpha=st.just(False),
    model_hash=st.binary(min_size=8, max_size=8) | st.just(NO_MODEL),
)


def seal(body: bytes) -> bytes:
    """A file with a valid checksum."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def prefix(version: int = 1, codec: int = 1, depth: int = 8, flags: int = 0, size: bytes = b"\x01\x01") -> bytes:
    return container.MAGIC + bytes([version, codec, depth, flags]) + size


def test_a_plain_photograph_byte_by_byte() -> None:
    body = b"\x8aAQT\r\n\x1a\n\x01\x01\x08\x00\x80\x06\x80\x04" + b"\x01\x03abc" + b"\x00"
    assert write(HEADER, {Chunk.PAYLOAD: b"abc"}) == seal(body)


def test_fixed_part_of_a_photograph_is_24_bytes() -> None:
    payload = bytes(14_000)
    assert len(write(HEADER, {Chunk.PAYLOAD: payload})) - len(payload) == 24


@given(headers, st.dictionaries(st.sampled_from(list(Chunk)), st.binary(max_size=300)))
def test_what_is_written_is_read(header: Header, chunks: dict[Chunk, bytes]) -> None:
    chunks = {Chunk.PAYLOAD: b"", **chunks}
    header = Header(**{**vars(header), "alpha": Chunk.ALPHA in chunks})
    data = write(header, chunks)
    assert read(data) == (header, chunks)
    assert probe(data) == header
    others = {kind: content for kind, content in chunks.items() if kind != Chunk.PAYLOAD}
    payload = len(chunks[Chunk.PAYLOAD])
    assert container.overhead(header, others, payload) == len(data) - payload


def test_every_truncation_is_told() -> None:
    data = write(FULL_HEADER, FULL_CHUNKS)
    for length in range(len(data)):
        with pytest.raises(TruncatedError, match="the file ends in"):
            read(data[:length])


def test_every_bit_flip_is_an_error() -> None:
    data = write(FULL_HEADER, FULL_CHUNKS)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileFormatError):
            read(bytes(flipped))


@given(st.binary(max_size=200), st.booleans(), st.booleans())
@example(b"", False, False)
def test_junk_is_never_more_than_a_format_error(junk: bytes, with_header: bool, sealed: bool) -> None:
    data = prefix() + junk if with_header else junk
    data = seal(data) if sealed else data
    try:
        header, chunks = read(data)
    except FileFormatError:
        return
    assert Chunk.PAYLOAD in chunks
    assert header.pixels >= 1


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", BadMagicError, "89 50 4e 47"),
        (b"PK", BadMagicError, "50 4b"),
        (b"", TruncatedError, "8 bytes are needed at offset 0, 0 are left"),
        (prefix(version=2), UnsupportedVersionError, "version 2"),
        (prefix(codec=9), UnsupportedFeatureError, "codec number 9"),
        (prefix(depth=10), CorruptStreamError, "8 or 16 bits, not 10"),
        (prefix(flags=0x0A), UnsupportedFeatureError, "0x0a"),
        (prefix(size=b"\x00\x01"), CorruptStreamError, "width must be from 1 to 65535, not 0"),
        (prefix(size=b"\x01\x80\x80\x04"), CorruptStreamError, "height must be from 1 to 65535, not 65536"),
        (prefix(size=b"\x81\x00\x01"), CorruptStreamError, "the width .1. is not in its shortest form"),
        (prefix(size=b"\xff\xff\xff\xff\xff\x01"), CorruptStreamError, "the width takes more than 5 bytes"),
        (prefix(flags=4) + b"123", TruncatedError, "the model hash: 8 bytes"),
        (seal(prefix() + b"\x00"), CorruptStreamError, "no payload"),
        (seal(prefix() + b"\x01\x00\x01\x00\x00"), CorruptStreamError, "0x01 appears twice"),
        (seal(prefix() + b"\x01\x00\x90\x00\x90\x00\x00"), CorruptStreamError, "0x90 appears twice"),
        (seal(prefix() + b"\x01\x00\x03\x00\x00"), UnsupportedFeatureError, "0x03"),
        (seal(prefix(flags=2) + b"\x01\x00\x00"), CorruptStreamError, "announces an alpha chunk"),
        (seal(prefix() + b"\x01\x00\x02\x00\x00"), CorruptStreamError, "does not announce"),
        (seal(prefix() + b"\x01\x00\x00") + b"x", CorruptStreamError, "1 bytes follow the checksum"),
        (prefix() + b"\x01\x00\x00\x00\x00\x00\x00", ChecksumError, "checksum is 00000000"),
        (prefix() + b"\x01\xff\xff\xff\xff\x7f", TruncatedError, "34359738367 bytes are needed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_way_to_be_wrong_has_its_error(data: bytes, error: type[FileFormatError], message: str) -> None:
    with pytest.raises(error, match=message):
        read(data)


def test_unknown_optional_chunks_are_skipped() -> None:
    data = seal(prefix() + b"\x90\x02zz" + b"\x01\x01p" + b"\xff\x00" + b"\x00")
    assert read(data) == (Header("overfitted", 1, 1), {Chunk.PAYLOAD: b"p"})


@pytest.mark.parametrize(
    ("header", "chunks"),
    [(HEADER, {}), (HEADER, {Chunk.PAYLOAD: b"", Chunk.ALPHA: b""}), (FULL_HEADER, {Chunk.PAYLOAD: b""})],
)
def test_an_invalid_file_is_not_written(header: Header, chunks: dict[Chunk, bytes]) -> None:
    with pytest.raises(CorruptStreamError):
        write(header, chunks)


def test_header_checks_its_fields() -> None:
    with pytest.raises(UnsupportedFeatureError, match="'jpeg'"):
        Header("jpeg", 1, 1)
    with pytest.raises(CorruptStreamError, match="not 3"):
        Header("overfitted", 1, 1, model_hash=b"abc")


class Trickle(io.BytesIO):
    """A stream that gives one byte at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1 if size else 0)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO, Trickle])
def test_sources(kind: Callable[[bytes], container.Source]) -> None:
    data = write(FULL_HEADER, FULL_CHUNKS)
    assert probe(kind(data)) == FULL_HEADER
    assert container.read_bytes(kind(data)) == data


def test_probe_reads_the_beginning_of_a_path_or_stream(tmp_path: Path) -> None:
    data = write(FULL_HEADER, FULL_CHUNKS)
    path = tmp_path / "a.aqt"
    path.write_bytes(data[:26])  # the header alone
    assert probe(path) == probe(str(path)) == FULL_HEADER
    stream = io.BytesIO(data)
    probe(stream)
    assert stream.tell() == container.MAX_HEADER_BYTES


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_FILE_BYTES", 100)
    assert len(container.read_bytes(io.BytesIO(bytes(100)))) == 100
    with pytest.raises(LimitError, match="100 bytes"):
        container.read_bytes(io.BytesIO(bytes(101)))


def test_a_source_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="not int"):
        probe(5)  # type: ignore[arg-type]
