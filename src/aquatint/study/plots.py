"""Elo against bits, who beats whom, and power curves, as SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from aquatint.errors import DependencyError
from aquatint.study.results import POOLED, Ranking
from aquatint.study.simulate import Power

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")  # Okabe and Ito
_MARKERS = "osD^vPX*"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "aquatint",  # equal votes make equal files
    "text.parse_math": False,  # in names of codecs
}


def draw(rankings: Sequence[Ranking]) -> dict[str, bytes]:
    """Files by name: elo, and wins of each ranking.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise DependencyError("plots need matplotlib: pip install 'aquatint[study]'") from None
    with matplotlib.rc_context(_STYLE):
        figures = {"elo": _elo([r for r in rankings if r.rate != POOLED])}
        figures |= {f"wins-{place}": _wins(one) for place, one in enumerate(rankings)}
        files = {}
        for name, figure in figures.items():
            for extension in ("svg", "png"):
                out = io.BytesIO()
                figure.savefig(out, format=extension, metadata={"Date": None} if extension == "svg" else {})
                files[f"{name}.{extension}"] = out.getvalue()
    return files


def power(found: Sequence[Power], extension: str) -> bytes:
    """A file of the power curve: the width of intervals, and how surely neighbours are told apart, by votes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        widths, shares = figure.subplots(1, 2)
        votes = [one.votes for one in found]
        widths.plot(votes, [one.half_width for one in found], "o-", color=_COLOURS[0])
        widths.set_ylabel("half of the 95 % interval [Elo]")
        shares.plot(votes, [100 * one.ordered for one in found], "s-", color=_COLOURS[1], label="in the right order")
        shares.plot(votes, [100 * one.told_apart for one in found], "D-", color=_COLOURS[2], label="told apart")
        shares.set_ylabel("neighbours [%]")
        shares.set_ylim(0, 104)
        shares.legend()
        widths.set_ylim(bottom=0)
        for axes in (widths, shares):
            axes.set_xlabel("votes")
            axes.grid(color="#dddddd", linewidth=0.6)
        out = io.BytesIO()
        figure.savefig(out, format=extension, metadata={"Date": None} if extension == "svg" else {})
    return out.getvalue()


def _elo(rankings: Sequence[Ranking]) -> Any:
    """Curves over bits if there are several rates and they are known, else points in order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    names = sorted({name for one in rankings for name in one.conditions})
    over_bits = len(rankings) > 1 and all(np.isfinite(one.bpp).all() for one in rankings)
    best = rankings[0].order
    for number, name in enumerate(names):
        points = [(at, one, one.conditions.index(name)) for at, one in enumerate(rankings) if name in one.conditions]
        if over_bits:
            x = [one.bpp[k] for _, one, k in points]
        elif len(rankings) > 1:
            x = [at + 0.06 * (number - (len(names) - 1) / 2) for at, _, _ in points]
        else:
            x = [int(np.flatnonzero(best == k)[0]) for _, _, k in points]
        elo = np.array([one.elo[k] for _, one, k in points])
        ends = np.array([one.intervals[k] for _, one, k in points])
        bars = np.nan_to_num(np.abs(ends - elo[:, None]).T)
        look: dict[str, Any] = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
        axes.errorbar(x, elo, bars, label=name, capsize=3, linewidth=1.6, markersize=5, elinewidth=1.1, **look)
    if over_bits:
        axes.set_xlabel("bits per pixel")
    elif len(rankings) > 1:
        axes.set_xticks(range(len(rankings)), [one.rate for one in rankings])
        axes.set_xlabel("rate")
    else:
        axes.set_xticks(range(len(best)), [rankings[0].conditions[k] for k in best])
    axes.set_ylabel("Elo")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(rankings) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _wins(one: Ranking) -> Any:
    """How often the row was preferred to the column, the best first."""
    from matplotlib.figure import Figure

    count = len(one.conditions)
    names = [one.conditions[k] for k in one.order]
    shares = one.win_shares[np.ix_(one.order, one.order)]
    figure = Figure(figsize=(1.6 + 0.62 * count, 1.0 + 0.5 * count), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(np.isfinite(shares)):
        share = shares[row, column]
        colour = "white" if abs(share - 0.5) > 0.33 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(count), names, rotation=30, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
