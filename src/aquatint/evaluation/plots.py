"""Pictures for papers, as SVG and PNG: curves, the perception-distortion plane, speed and cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aquatint.errors import DependencyError
from aquatint.evaluation import analysis
from aquatint.evaluation.baselines import Baseline
from aquatint.evaluation.metrics import METRICS
from aquatint.evaluation.runner import Row, SetRow
from aquatint.evaluation.style import PLOTS, looks

_SIZE = (5.2, 3.6)  # inches: a column of a page, and a half
_PICTURES = 12  # at most in the picture of curves per photograph


def draw(
    folder: Path,
    rows: Sequence[Row],
    sets: Sequence[SetRow],
    metrics: Sequence[str],
    baselines: Sequence[Baseline] = (),
) -> list[str]:
    """Writes all pictures that the rows allow as NAME.svg and NAME.png; the names that were written.

    Arguments:
        folder: is made if need be.
        rows, sets: of a run.
        metrics: names.
        baselines: published curves, drawn thin and grey.

    Raises:
        DependencyError: matplotlib is not installed.
        OSError: the folder cannot be written to.
    """
    try:
        import matplotlib
    except ImportError:
        raise DependencyError("plots need matplotlib: pip install 'aquatint[evaluation]'") from None
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(PLOTS):
        figures: dict[str, Figure | None] = {}
        for metric in metrics:
            slug = re.sub(r"\W+", "-", metric)
            figures[f"mean-{slug}"] = _means(rows, sets, metric, baselines)
            if not METRICS[metric].on_sets:
                figures[f"pictures-{slug}"] = _pictures(rows, metric)
        for distortion, perception in planes(metrics):
            figures[re.sub(r"\W+", "-", f"plane-{distortion}-{perception}")] = _plane(
                rows, sets, distortion, perception
            )
        figures["speed-encode"] = _cost(rows, "encode_seconds", "encoding [megapixels per second]")
        figures["speed-decode"] = _cost(rows, "decode_seconds", "decoding [megapixels per second]")
        figures["multiplications"] = _cost(rows, "multiplications_per_pixel", "decoding [multiplications per pixel]")
        written = [name for name, figure in figures.items() if figure is not None]
        for name in written:
            for extension in ("svg", "png"):
                metadata = {"Date": None} if extension == "svg" else {}
                figures[name].savefig(folder / f"{name}.{extension}", metadata=metadata)  # type: ignore[union-attr]
    return written


def planes(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a metric of distortion and one of perception; PSNR or else MS-SSIM, against all that is neither."""
    distortion = next((name for name in ("psnr", "ms-ssim") if name in metrics), None)
    if distortion is None:
        return []
    return [(distortion, name) for name in metrics if name not in ("psnr", "ms-ssim")]


def _axes(title_x: str, title_y: str, **options: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots(**options)
    axes.set_xlabel(title_x)
    axes.set_ylabel(title_y)
    return figure, axes


def _rate_axis(axes: Any, rates: Sequence[float]) -> None:
    """A logarithmic axis, as rates are chosen, with plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    low, high = min(rates), max(rates)
    steps = [digit * 10.0**power for power in range(-3, 2) for digit in (1, 2, 3, 5)]
    axes.xaxis.set_major_locator(FixedLocator([step for step in steps if low / 1.5 <= step <= high * 1.5]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _arrow(metric: str) -> str:
    """The metric's title with the direction of better values."""
    return f"{METRICS[metric].title} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _means(rows: Sequence[Row], sets: Sequence[SetRow], metric: str, baselines: Sequence[Baseline]) -> Any | None:
    figure, axes = _axes("bits per pixel", _arrow(metric))
    rates: list[float] = []
    for codec, look in looks(analysis.names(rows)).items():
        points = analysis.mean_curve(rows, sets, codec, metric)
        if points:
            bpp, values = [point.bpp for point in points], [point.value for point in points]
            axes.plot(bpp, values, color=look.colour, marker=look.marker, linestyle=look.dashes, label=codec)
            ends = [(point.bpp, point.low, point.high) for point in points if point.low is not None]
            if ends:
                axes.vlines(*zip(*ends, strict=True), color=look.colour, linewidth=0.8)
            rates += bpp
    if not rates:
        return None
    for k, baseline in enumerate(item for item in baselines if metric in item.curves):
        points = baseline.curves[metric]
        inside = points[(points[:, 0] >= min(rates) / 1.6) & (points[:, 0] <= max(rates) * 1.6)]
        if len(inside):
            label = f"{baseline.name} (published)"
            axes.plot(*inside.T, "1234+x<>dH"[k % 10], color="#777777", linewidth=0.8, linestyle=":", label=label)
    _rate_axis(axes, rates)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    count = len(analysis.readable(rows))
    axes.set_title(f"mean of {count} picture{'s' if count != 1 else ''}", fontsize=9, loc="left")
    return figure


def _pictures(rows: Sequence[Row], metric: str) -> Any | None:
    """Small multiples, a photograph each."""
    from matplotlib.figure import Figure

    pictures = [name for name in analysis.readable(rows) if _points(rows, None, name, metric)][:_PICTURES]
    if not pictures:
        return None
    columns = min(4, len(pictures))
    lines = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.1 * lines + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(pictures) :]:
        axes.axis("off")
    handles: dict[str, Any] = {}
    for picture, axes in zip(pictures, grid.flat, strict=False):
        for codec, look in looks(analysis.names(rows)).items():
            points = _points(rows, codec, picture, metric)
            if points:
                style = {"color": look.colour, "marker": look.marker, "linestyle": look.dashes}
                (handles[codec],) = axes.plot(*zip(*points, strict=True), **style)
        axes.set_title(picture, fontsize=8, loc="left")
        _rate_axis(axes, [point[0] for point in _points(rows, None, picture, metric)])
    figure.supxlabel("bits per pixel", fontsize=9)
    figure.supylabel(_arrow(metric), fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=min(6, len(handles)))
    return figure


def _points(rows: Sequence[Row], codec: str | None, picture: str, metric: str) -> list[tuple[float, float]]:
    return sorted(
        (row.bpp, value)
        for row in rows
        if row.ok
        and row.picture.name == picture
        and codec in (None, row.codec)
        and (value := row.metric(metric)) is not None
    )


def _plane(rows: Sequence[Row], sets: Sequence[SetRow], distortion: str, perception: str) -> Any | None:
    """One metric against another at the rates they share: Blau and Michaeli 2018 (arXiv 1711.06077)."""
    figure, axes = _axes(_arrow(distortion), _arrow(perception))
    drawn = False
    for codec, look in looks(analysis.names(rows)).items():
        pair = [analysis.mean_curve(rows, sets, codec, metric) for metric in (distortion, perception)]
        x, y = ({point.target_bpp: point.value for point in points} for points in pair)
        shared = [rate for rate in x if rate in y]
        if not shared:
            continue
        drawn = True
        values = [x[rate] for rate in shared], [y[rate] for rate in shared]
        axes.plot(*values, color=look.colour, marker=look.marker, linestyle=look.dashes, label=codec)
        for rate in shared:
            axes.annotate(
                f"{rate:g}", (x[rate], y[rate]), (3, 3), textcoords="offset points", fontsize=6, color="#555555"
            )
    if not drawn:
        return None
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title("numbers: bits per pixel", fontsize=9, loc="left")
    return figure


def _cost(rows: Sequence[Row], column: str, title: str) -> Any | None:
    """What coding costs against the rate; medians over pictures, for times have outliers."""
    figure, axes = _axes("bits per pixel", title)
    rates: list[float] = []
    for codec, look in looks(analysis.names(rows)).items():
        groups: dict[float, list[tuple[float, float]]] = {}
        for row in rows:
            amount = row.outcome.record.get(column)
            if row.codec == codec and row.ok and amount:
                speed = amount if "seconds" not in column else row.picture.pixels / 1e6 / amount
                groups.setdefault(row.target_bpp, []).append((row.bpp, speed))
        if groups:
            points = np.array([np.median(groups[rate], axis=0) for rate in sorted(groups)])
            axes.plot(*points.T, color=look.colour, marker=look.marker, linestyle=look.dashes, label=codec)
            rates += points[:, 0].tolist()
    if not rates:
        return None
    axes.set_yscale("log")
    _rate_axis(axes, rates)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
