"""`aquatint info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from aquatint.cli import files
from aquatint.cli.terminal import for_each, printable, say_json
from aquatint.errors import UsageError

if TYPE_CHECKING:
    from aquatint.container import Chunk, Header


def info(
    paths: Annotated[list[str], typer.Argument(metavar="FILE...", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a file.")] = False,
) -> None:
    """Show what .aqt files hold, without decoding their pictures.

    "-" is standard input. The checksum is verified.
    """
    from aquatint import codecs, container

    def work(path: str) -> None:
        data = container.read_bytes(files.read(path))
        header, chunks = container.read(data)
        try:
            stream = codecs.load(header.codec).describe(chunks[container.Chunk.PAYLOAD], header)
        except UsageError:  # a codec that the format has, but not this version
            stream = {}
        if json:
            say_json(_facts(path, len(data), header, chunks) | stream)
        else:
            print("\n".join(_lines(path, len(data), header, chunks, stream)), flush=True)

    for_each(paths, work, name=lambda path: path)


def _facts(path: str, size: int, header: Header, chunks: Mapping[Chunk, bytes]) -> dict[str, object]:
    return {
        "input": path,
        "codec": header.codec,
        "width": header.width,
        "height": header.height,
        "depth": header.depth,
        "mode": _mode(header),
        "model_hash": header.model_hash.hex() if any(header.model_hash) else None,
        "bytes": size,
        "bpp": 8 * size / header.pixels,
        "chunks": {kind.name.lower(): len(content) for kind, content in chunks.items()},
    }


def _lines(
    path: str, size: int, header: Header, chunks: Mapping[Chunk, bytes], stream: Mapping[str, object]
) -> list[str]:
    table: dict[str, object] = {
        "picture": f"{header.width}x{header.height}, {_mode(header)}, {header.depth} bits per sample",
        "codec": header.codec,
        "file": f"{size} bytes, {8 * size / header.pixels:.3f} bpp",
    }
    table |= {kind.name.lower(): f"{len(content)} bytes" for kind, content in chunks.items()}
    if any(header.model_hash):
        table["model hash"] = header.model_hash.hex()
    table |= {name.replace("_", " "): value for name, value in stream.items()}
    width = max(map(len, table))
    rows = [
        f"  {name:<{width}}  {f'{value:.6g}' if isinstance(value, float) else value}" for name, value in table.items()
    ]
    return [printable(path), *rows]


def _mode(header: Header) -> str:
    """The picture's mode by the name that Pillow gives it."""
    return ("L" if header.grayscale else "RGB") + ("A" if header.alpha else "")
