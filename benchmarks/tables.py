"""Tables of what benchmarks measure."""

from __future__ import annotations

from pathlib import Path


class Table:
    """A table that is printed and kept in a file, in Markdown, as it grows.

    Arguments:
        path: of the file.
        columns: their titles.
    """

    def __init__(self, path: Path, *columns: str) -> None:
        self.path, self.lines = path, []
        self.add(*columns)
        self.lines.append("|---" * len(columns) + "|")

    def add(self, *cells: object) -> None:
        """Adds a row; numbers that are not whole get four digits."""
        texts = (f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells)
        self.lines.append(f"| {' | '.join(texts)} |")
        print(self.lines[-1], flush=True)
        self.path.write_text("\n".join(self.lines) + "\n")
