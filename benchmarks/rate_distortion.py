"""PSNR at equal bytes against AVIF (libaom tuned for PSNR), with encode and decode times of both, in one run.

python benchmarks/rate_distortion.py PHOTO... [--bpp 0.15 0.3] [--effort 5 7]
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

import aquatint

AVIF = {"speed": 4, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}}
AVIF_QUALITIES = range(8, 84, 4)


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    error = np.mean((original.astype(float) - decoded.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def avif_curve(picture: Image.Image) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Bits per pixel and PSNR over the qualities, and mean seconds to encode and to decode."""
    original, rates, psnrs, seconds = np.asarray(picture), [], [], np.zeros(2)
    for quality in AVIF_QUALITIES:
        buffer = io.BytesIO()
        start = time.perf_counter()
        picture.save(buffer, "AVIF", quality=quality, **AVIF)
        encoded = time.perf_counter()
        decoded = np.asarray(Image.open(buffer).convert("RGB"))
        seconds += encoded - start, time.perf_counter() - encoded
        rates.append(8 * buffer.tell() / original[..., 0].size)
        psnrs.append(psnr(original, decoded))
    return np.array(rates), np.array(psnrs), *(seconds / len(AVIF_QUALITIES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--bpp", nargs="+", type=float, default=[0.3])
    parser.add_argument("--effort", nargs="+", type=int, default=[5, 7])
    arguments = parser.parse_args()
    print("photograph           effort    bpp   PSNR   AVIF   gain  encode s decode ms")
    gains: dict[tuple[int, float], list[float]] = {}
    for path in arguments.photos:
        picture = Image.open(path).convert("RGB")
        original = np.asarray(picture)
        rates, psnrs, avif_encode, avif_decode = avif_curve(picture)
        for effort in arguments.effort:
            for bpp in arguments.bpp:
                start = time.perf_counter()
                data = aquatint.encode(picture, bpp=bpp, effort=effort)
                seconds = time.perf_counter() - start
                aquatint.decode(data)
                start = time.perf_counter()
                decoded = np.asarray(aquatint.decode(data).to_pil())
                decode_ms = 1e3 * (time.perf_counter() - start)
                rate, ours = 8 * len(data) / original[..., 0].size, psnr(original, decoded)
                theirs = float(np.interp(np.log(rate), np.log(rates), psnrs))
                gains.setdefault((effort, bpp), []).append(ours - theirs)
                row = f"{path.name:20} {effort:6} {rate:6.3f} {ours:6.2f} {theirs:6.2f} {ours - theirs:+6.2f}"
                print(f"{row} {seconds:9.1f} {decode_ms:9.1f}", flush=True)
        print(f"{path.name:20}   AVIF {'':27} {avif_encode:9.1f} {1e3 * avif_decode:9.1f}")
    for (effort, bpp), values in gains.items():
        print(
            f"effort {effort}, {bpp} bpp: {np.mean(values):+.2f} dB against AVIF at equal bytes, mean of {len(values)}"
        )


if __name__ == "__main__":
    main()
