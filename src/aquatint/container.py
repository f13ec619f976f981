"""The `.aqt` file: a header, chunks and a checksum around a codec's payload (docs/FORMAT.md, section 1)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import IO

from aquatint.errors import (
    BadMagicError,
    ChecksumError,
    CorruptStreamError,
    LimitError,
    TruncatedError,
    UnsupportedFeatureError,
    UnsupportedVersionError,
    UsageError,
)

MAGIC = b"\x8aAQT\r\n\x1a\n"
VERSION = 1
MAX_SIDE = 65535
MAX_PIXELS = 2**26  # what a decoder accepts unless its user asks for more
MAX_FILE_BYTES = 2**28  # what is read from a path or a stream; 2^26 pixels at 24 bits each are 3/4 of it
MAX_HEADER_BYTES = 30  # magic, four single bytes, two varints and the model hash at their longest
MEDIA_TYPE = "image/x-aquatint"
NO_MODEL = bytes(8)
# Names of the codecs and their numbers in a file, which never change.
CODEC_IDS = {"overfitted": 1, "hyperprior": 2, "generative": 3, "extreme": 4, "transport": 5}
CODEC_NAMES = {number: name for name, number in CODEC_IDS.items()}

_GRAYSCALE, _ALPHA, _MODEL = 1, 2, 4  # flag bits
_END = 0  # where a chunk's type would stand
_FIRST_OPTIONAL = 0x80
_CHECKSUM_BYTES = 4

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]


class Chunk(IntEnum):
    """Types of the chunks that this version knows."""

    PAYLOAD = 0x01
    ALPHA = 0x02
    ICC = 0x81
    EXIF = 0x82
    XMP = 0x83


_KNOWN = frozenset(Chunk)


@dataclass(frozen=True)
class Header:
    """What a file says about its picture before any chunk.

    Attributes:
        codec: name of the codec that made the payload.
        width, height: pixels, 1 to 65535.
        depth: bits per sample, 8 or 16.
        grayscale: the picture decodes to one channel.
        alpha: the file has an alpha chunk.
        model_hash: first 8 bytes of the SHA-256 of the model's weights file; zero if no model is needed.

    Raises:
        UnsupportedFeatureError: the codec is unknown.
        CorruptStreamError: another field is outside its range.
    """

    codec: str
    width: int
    height: int
    depth: int = 8
    grayscale: bool = False
    alpha: bool = False
    model_hash: bytes = NO_MODEL

    def __post_init__(self) -> None:
        if self.codec not in CODEC_IDS:
            raise UnsupportedFeatureError(f"codec {self.codec!r} is not one of {', '.join(CODEC_IDS)}")
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= MAX_SIDE:
                raise CorruptStreamError(f"the {name} must be from 1 to {MAX_SIDE}, not {side}")
        if self.depth not in (8, 16):
            raise CorruptStreamError(f"the depth must be 8 or 16 bits, not {self.depth}")
        if len(self.model_hash) != len(NO_MODEL):
            raise CorruptStreamError(f"a model hash has {len(NO_MODEL)} bytes, not {len(self.model_hash)}")

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def write(header: Header, chunks: Mapping[Chunk, bytes]) -> bytes:
    """The bytes of a file.

    Arguments:
        header: its `alpha` says whether there is an alpha chunk.
        chunks: contents by type; the payload must be among them.

    Raises:
        CorruptStreamError: the payload is missing, or header and chunks disagree about alpha.
    """
    _check_chunks(header, chunks)
    out = bytearray(_header_bytes(header))
    for kind in sorted(chunks):
        out.append(kind)
        out += varint(len(chunks[kind]))
        out += chunks[kind]
    out.append(_END)
    out += zlib.crc32(out).to_bytes(_CHECKSUM_BYTES, "little")
    return bytes(out)


def overhead(header: Header, chunks: Mapping[Chunk, bytes], payload_bytes: int) -> int:
    """Bytes of a file around a payload of at most `payload_bytes` bytes; `chunks` are the other chunks."""
    framed = sum(1 + len(varint(len(content))) + len(content) for content in chunks.values())
    return len(_header_bytes(header)) + 1 + len(varint(payload_bytes)) + framed + 1 + _CHECKSUM_BYTES


def read(data: bytes) -> tuple[Header, dict[Chunk, bytes]]:
    """The header and the chunks of a file, its checksum verified; optional chunks of unknown type are left out.

    Raises:
        FileFormatError: the subclass says which way the file is wrong.
    """
    cursor = _Cursor(data)
    header = _parse_header(cursor)
    seen: set[int] = set()
    chunks: dict[Chunk, bytes] = {}
    while (kind := cursor.byte("the next chunk's type")) != _END:
        if kind in seen:
            raise CorruptStreamError(f"chunk type {kind:#04x} appears twice; once is allowed")
        seen.add(kind)
        content = cursor.take(cursor.varint(f"the length of chunk {kind:#04x}"), f"chunk {kind:#04x}")
        if kind in _KNOWN:
            chunks[Chunk(kind)] = content.tobytes()
        elif kind < _FIRST_OPTIONAL:
            raise UnsupportedFeatureError(f"critical chunk type {kind:#04x} is unknown to version {VERSION}")
    stored = int.from_bytes(cursor.take(_CHECKSUM_BYTES, "the checksum"), "little")
    if cursor.left:
        raise CorruptStreamError(f"{cursor.left} bytes follow the checksum; none is allowed")
    computed = zlib.crc32(memoryview(data)[:-_CHECKSUM_BYTES])
    if stored != computed:
        raise ChecksumError(f"the file is damaged: its checksum is {stored:08x}, its bytes give {computed:08x}")
    _check_chunks(header, chunks)
    return header, chunks


def probe(source: Source) -> Header:
    """The header of a file, from its first 30 bytes at most; the rest is neither read nor checked.

    Arguments:
        source: the file's bytes, its path, or a binary stream, which is left behind the bytes that were read.

    Raises:
        FileFormatError: the header is not valid.
        OSError: the file cannot be opened or read.
    """
    return _parse_header(_Cursor(_read_up_to(source, MAX_HEADER_BYTES)))


def read_bytes(source: Source) -> bytes:
    """All bytes of a file given as bytes, as a path or as a binary stream.

    Raises:
        LimitError: a path or stream holds more than `MAX_FILE_BYTES`.
        OSError: the file cannot be opened or read.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    data = _read_up_to(source, MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise LimitError(f"the file is larger than the {MAX_FILE_BYTES} bytes that are read at most")
    return data


def varint(value: int) -> bytes:
    """LEB128 of 0 <= value < 2^35: seven bits a byte, least significant first, the top bit set on all but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Cursor:
    """A position in bytes from which fields are taken; what is not there is a TruncatedError."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.position = 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int, what: str) -> memoryview:
        if count > self.left:
            raise TruncatedError(
                f"the file ends in {what}: {count} bytes are needed at offset {self.position}, {self.left} are left"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def varint(self, what: str) -> int:
        value = 0
        for index in range(5):
            byte = self.byte(what)
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index > 0:
                    raise CorruptStreamError(f"{what} ({value}) is not in its shortest form: {index + 1} bytes")
                return value
        raise CorruptStreamError(f"{what} takes more than 5 bytes")


def _header_bytes(header: Header) -> bytes:
    has_model = header.model_hash != NO_MODEL
    flags = _GRAYSCALE * header.grayscale | _ALPHA * header.alpha | _MODEL * has_model
    fixed = bytes([VERSION, CODEC_IDS[header.codec], header.depth, flags])
    return MAGIC + fixed + varint(header.width) + varint(header.height) + (header.model_hash if has_model else b"")


def _parse_header(cursor: _Cursor) -> Header:
    if not MAGIC.startswith(bytes(cursor.data[: len(MAGIC)])):
        raise BadMagicError(f"not an .aqt file: it begins with {bytes(cursor.data[:8]).hex(' ')}, not {MAGIC.hex(' ')}")
    cursor.take(len(MAGIC), "the magic number")
    version = cursor.byte("the version")
    if version != VERSION:
        raise UnsupportedVersionError(f"the file has version {version} of the format; this program reads {VERSION}")
    codec, depth, flags = cursor.byte("the codec"), cursor.byte("the depth"), cursor.byte("the flags")
    if codec not in CODEC_NAMES:
        raise UnsupportedFeatureError(f"codec number {codec} is unknown; known are {sorted(CODEC_NAMES)}")
    if flags & ~(_GRAYSCALE | _ALPHA | _MODEL):
        raise UnsupportedFeatureError(f"flags {flags:#04x} are unknown; only bits 0 to 2 may be set")
    return Header(
        codec=CODEC_NAMES[codec],
        width=cursor.varint("the width"),
        height=cursor.varint("the height"),
        depth=depth,
        grayscale=bool(flags & _GRAYSCALE),
        alpha=bool(flags & _ALPHA),
        model_hash=bytes(cursor.take(len(NO_MODEL), "the model hash")) if flags & _MODEL else NO_MODEL,
    )


def _check_chunks(header: Header, chunks: Mapping[Chunk, bytes]) -> None:
    if Chunk.PAYLOAD not in chunks:
        raise CorruptStreamError("the file has no payload; exactly one is needed")
    if header.alpha != (Chunk.ALPHA in chunks):
        raise CorruptStreamError(
            "the header announces an alpha chunk, but there is none"
            if header.alpha
            else "there is an alpha chunk that the header does not announce"
        )


def _read_up_to(source: Source, limit: int) -> bytes:
    """The first bytes of a source, fewer than `limit` only if it ends earlier."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(memoryview(source)[:limit])
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return _read_up_to(file, limit)
    if not hasattr(source, "read"):
        raise UsageError(f"bytes, a path or a binary file is needed, not {type(source).__name__}")
    # In pieces: a stream may return less than it is asked for, and asking for everything would allocate the limit.
    data = bytearray()
    while len(data) < limit and (piece := source.read(min(limit - len(data), 2**20))):
        data += piece
    return bytes(data)
