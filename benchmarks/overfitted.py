"""What the seconds of a fit buy: BD-rate (PSNR) against AVIF (tuned for PSNR), JPEG XL and WebP, effort by effort.

    python benchmarks/overfitted.py PHOTO... [--efforts 1 3 5] [--qualities 35 50 65] [--out out/overfitted]

Every effort encodes every photograph at a few qualities. Printed for each: steps a second, seconds to encode, seconds
over those of AVIF, milliseconds to decode, and the mean over the photographs of the bits at equal PSNR over each
peer's. A plot of BD-rate against seconds, and all points as CSV, go to the folder of `--out`.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import aquatint
from aquatint.api import compress
from aquatint.evaluation.curves import Curve, CurveError, bd_rate
from aquatint.evaluation.peers import PEERS, Pillow
from aquatint.evaluation.style import looks

ANCHOR = "avif-psnr"
PEER_NAMES = ANCHOR, "jxl", "webp"
PEER_POINTS = 12  # of each peer's curve, spread over its qualities


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    error = np.mean((original.astype(float) - decoded.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def peer_curve(peer: Pillow, pixels: np.ndarray) -> tuple[Curve, float]:
    """PSNR against bits over a peer's qualities, and its mean seconds to encode."""
    rates, psnrs, seconds = [], [], []
    places = np.linspace(0.02, 0.9, PEER_POINTS) * (len(peer.qualities) - 1)
    for quality in dict.fromkeys(peer.qualities[round(place)] for place in places):
        start = time.perf_counter()
        data = peer.encode_at(pixels, quality, threads=2)
        seconds.append(time.perf_counter() - start)
        rates.append(8 * len(data) / pixels[..., 0].size)
        psnrs.append(psnr(pixels, peer.decode(data, threads=2)))
    rising = np.maximum.accumulate(psnrs) == psnrs  # a few qualities of a peer may give the same or a worse file
    keep = [k for k in range(len(rates)) if rising[k] and rates[k] not in rates[:k] and psnrs[k] not in psnrs[:k]]
    return Curve(np.array(rates)[keep], np.array(psnrs)[keep]), float(np.mean(seconds))


def bits_at_equal_psnr(peer: Curve, own: Curve) -> float:
    """BD-rate in percent, NaN where the curves share no PSNR."""
    try:
        return bd_rate(peer, own)
    except CurveError:
        return math.nan


def encode(path: Path, effort: int, quality: float) -> dict[str, object]:
    """One row of results."""
    picture = aquatint.read(path)
    encoded = compress(picture, aquatint.Target(quality=quality), aquatint.Options(effort=effort))
    aquatint.decode(encoded.data)
    start = time.perf_counter()
    aquatint.decode(encoded.data)
    return {
        "photograph": path.name,
        "effort": effort,
        "quality": quality,
        "bpp": encoded.bpp,
        "psnr": encoded.report.psnr,
        "steps": encoded.report.steps,
        "seconds": encoded.seconds,
        "decode_ms": 1e3 * (time.perf_counter() - start),
        "multiplications_per_pixel": encoded.report.multiplications_per_pixel,
    }


def draw(points: Sequence[tuple[int, float, dict[str, float]]], path: Path) -> None:
    """BD-rate against seconds, a line for each peer and a mark for each effort."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, look in looks(PEER_NAMES).items():
        seconds, rates = [p[1] for p in points], [p[2][name] for p in points]
        axes.plot(seconds, rates, color=look.colour, marker=look.marker, label=f"against {name}")
    for effort, seconds, rates in points:
        axes.annotate(f"effort {effort}", (seconds, rates[ANCHOR]), (0, 8), textcoords="offset points", fontsize=8)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(xscale="log", xlabel="seconds to encode", ylabel="bits at equal PSNR, %", title="What a longer fit buys")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--efforts", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7])
    parser.add_argument("--qualities", type=float, nargs="+", default=[35, 50, 65])
    parser.add_argument("--out", type=Path, default=Path("out/overfitted"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    peers = {name: peer for name in PEER_NAMES if isinstance(peer := PEERS[name], Pillow)}
    curves, times = {}, dict.fromkeys(peers, 0.0)
    for path in arguments.photographs:
        pixels = aquatint.read(path).to_array()
        for name, peer in peers.items():
            curves[path.name, name], seconds = peer_curve(peer, pixels)
            times[name] += seconds / len(arguments.photographs)
    print("peers' seconds: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in times.items()))
    against = "".join(f"{f'vs {name}, %':>16}" for name in peers)
    print(f"{'effort':>6} {'steps/s':>8} {'seconds':>8} {'/ AVIF':>7} {'decode ms':>9} {'mult/px':>8}{against}")
    points, everything = [], []
    for effort in arguments.efforts:
        rows = [encode(path, effort, q) for path in arguments.photographs for q in arguments.qualities]
        everything += rows
        table = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        rates = dict.fromkeys(peers, 0.0)
        for path in arguments.photographs:
            own = table["photograph"] == path.name
            curve = Curve(table["bpp"][own], table["psnr"][own])
            for name in peers:
                rates[name] += bits_at_equal_psnr(curves[path.name, name], curve) / len(arguments.photographs)
        seconds = float(table["seconds"].mean())
        points.append((effort, seconds, rates))
        columns = "".join(f"{rates[name]:>+16.1f}" for name in peers)
        print(
            f"{effort:6} {table['steps'].sum() / table['seconds'].sum():8.1f}"
            f" {seconds:8.1f} {seconds / times[ANCHOR]:7.1f}"
            f" {table['decode_ms'].mean():9.1f} {table['multiplications_per_pixel'].mean():8.0f}{columns}",
            flush=True,
        )
    with (arguments.out / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, everything[0])
        writer.writeheader()
        writer.writerows(everything)
    draw(points, arguments.out / "bd_rate.svg")
    draw(points, arguments.out / "bd_rate.png")


if __name__ == "__main__":
    main()
