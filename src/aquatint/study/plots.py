"""Elo against bits, who beats whom, and power curves, as SVG and PNG; matplotlib must be installed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from aquatint.evaluation.style import PLOTS, looks
from aquatint.study.results import POOLED, Ranking
from aquatint.study.simulate import Power

_STYLE: dict[Any, Any] = PLOTS | {"text.parse_math": False, "axes.axisbelow": True}  # names of codecs are no formulas


def draw(rankings: Sequence[Ranking]) -> dict[str, bytes]:
    """Files by name: elo, and wins of each ranking."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        figures = {"elo": _elo([r for r in rankings if r.rate != POOLED])}
        figures |= {f"wins-{place}": _wins(one) for place, one in enumerate(rankings)}
        return {
            f"{name}.{extension}": _file(figure, extension)
            for name, figure in figures.items()
            for extension in ("svg", "png")
        }


def power(found: Sequence[Power], extension: str) -> bytes:
    """A file of the power curve: the width of intervals, and how surely neighbours are told apart, by votes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        widths, shares = figure.subplots(1, 2)
        votes = [one.votes for one in found]
        widths.plot(votes, [one.half_width for one in found], "o-", color="C0")
        widths.set_ylabel("half of the 95 % interval [Elo]")
        shares.plot(votes, [100 * one.ordered for one in found], "s-", color="C1", label="in the right order")
        shares.plot(votes, [100 * one.told_apart for one in found], "D-", color="C2", label="told apart")
        shares.set_ylabel("neighbours [%]")
        shares.set_ylim(0, 104)
        shares.legend()
        widths.set_ylim(bottom=0)
        for axes in (widths, shares):
            axes.set_xlabel("votes")
        return _file(figure, extension)


def _file(figure: Any, extension: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=extension, metadata={"Date": None} if extension == "svg" else {})
    return out.getvalue()


def _elo(rankings: Sequence[Ranking]) -> Any:
    """Curves over bits if there are several rates and they are known, else points in order.

    Codecs of one rate have nearly the same bits, so they are drawn a little apart for all intervals to be seen.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.8), layout="constrained")
    axes = figure.subplots()
    names = sorted({name for one in rankings for name in one.conditions})
    style = looks(names)
    over_bits = len(rankings) > 1 and all(np.isfinite(one.bpp).all() for one in rankings)
    best = rankings[0].order
    step = 0.012 * np.ptp(np.concatenate([one.bpp for one in rankings])) if over_bits else 0.06
    for number, name in enumerate(names):
        points = [(at, one, one.conditions.index(name)) for at, one in enumerate(rankings) if name in one.conditions]
        if len(rankings) > 1:
            apart = step * (number - (len(names) - 1) / 2)
            x = [(one.bpp[k] if over_bits else at) + apart for at, one, k in points]
        else:
            x = [int(np.flatnonzero(best == k)[0]) for _, _, k in points]
        elo = np.array([one.elo[k] for _, one, k in points])
        ends = np.array([one.intervals[k] for _, one, k in points])
        bars = np.nan_to_num(np.abs(ends - elo[:, None]).T)
        look = style[name]
        axes.errorbar(x, elo, bars, label=name, capsize=3, elinewidth=1.1, color=look.colour, marker=look.marker)
    if over_bits:
        axes.set_xlabel("bits per pixel")
    elif len(rankings) > 1:
        axes.set_xticks(range(len(rankings)), [one.rate for one in rankings])
        axes.set_xlabel("rate")
    else:
        axes.set_xticks(range(len(best)), [rankings[0].conditions[k] for k in best])
    axes.set_ylabel("Elo")
    axes.grid(visible=False, axis="x")
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
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure
