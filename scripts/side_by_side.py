"""Draws original | decoded | JPEG of the same bytes. Usage: side_by_side.py ORIGINAL ENCODED DECODED OUTPUT"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

MARGIN, CAPTION = 12, 32  # pixels


def psnr(picture: Image.Image, original: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB of two RGB pictures of 8 bits."""
    error = np.mean((np.asarray(picture, np.float64) - np.asarray(original, np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def jpeg(original: Image.Image, size: int) -> bytes:
    """The best JPEG file of at most `size` bytes, or the smallest there is."""

    def encode(quality: int) -> bytes:
        out = io.BytesIO()
        original.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
        return out.getvalue()

    candidates = [encode(quality) for quality in range(1, 96)]
    fitting = [data for data in candidates if len(data) <= size]
    return fitting[-1] if fitting else candidates[0]


def side_by_side(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """Captioned pictures of the same size in a row."""
    width, height = pictures[0][1].size
    sheet = Image.new("RGB", (MARGIN + len(pictures) * (width + MARGIN), height + CAPTION + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(pictures):
        left = MARGIN + index * (width + MARGIN)
        draw.text((left, CAPTION / 2), caption, fill="black", anchor="lm", font=ImageFont.load_default(16))
        sheet.paste(picture, (left, CAPTION))
    return sheet


def main(original_path: str, encoded_path: str, decoded_path: str, output_path: str) -> None:
    original = ImageOps.exif_transpose(Image.open(original_path)).convert("RGB")
    decoded = Image.open(decoded_path).convert("RGB")
    size = Path(encoded_path).stat().st_size
    peer_data = jpeg(original, size)
    peer = Image.open(io.BytesIO(peer_data)).convert("RGB")
    pixels = original.width * original.height
    row = [("original", original)]
    for name, count, picture in (("Aquatint", size, decoded), ("JPEG", len(peer_data), peer)):
        row.append((f"{name}: {count} bytes, {8 * count / pixels:.3f} bpp, {psnr(picture, original):.2f} dB", picture))
        print(row[-1][0])
    side_by_side(row).save(output_path)
    print(output_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
