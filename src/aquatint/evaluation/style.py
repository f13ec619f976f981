"""How codecs look in pictures and on the page: colours that colour-blind people can tell apart, and marks besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# After Okabe and Ito, "Color universal design", 2008; blue and green made lighter, so that they can be read on dark
# grey as well as on white, and four more for runs of many codecs.
_COLOURS = (
    "#D55E00",
    "#2F8BD0",
    "#00A37A",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8E7CFF",
    "#9A9A9A",
    "#A5B82E",
    "#B5651D",
)
_MARKERS = "osD^vPXp*h"
_DASHES = ("solid", "dashed", "dotted", "dashdot")

PLOTS: dict[Any, Any] = {  # settings of matplotlib
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "aquatint",  # equal inputs make equal files
}


@dataclass(frozen=True)
class Look:
    """How a codec is drawn: a colour, matplotlib's names of a marker and of a line style."""

    colour: str
    marker: str
    dashes: str


def looks(codecs: Sequence[str]) -> dict[str, Look]:
    """A look for every codec, different ones for the first forty."""
    return {
        codec: Look(
            _COLOURS[k % len(_COLOURS)],
            _MARKERS[k % len(_MARKERS)],
            _DASHES[k // len(_COLOURS) % len(_DASHES)],
        )
        for k, codec in enumerate(codecs)
    }
