"""Shows that an installed package works: encodes and decodes a small picture."""

from __future__ import annotations

import numpy as np

import aquatint

rows, columns = np.mgrid[0:48, 0:64]
picture = np.stack([4 * columns, 5 * rows, 2 * (rows + columns)], axis=2).astype(np.uint8)
data = aquatint.encode(picture, quality=80, effort=1)
decoded = np.asarray(aquatint.decode(data))
error = np.mean((decoded.astype(float) - picture) ** 2)
print(f"{len(data)} bytes, mean squared error {error:.1f}")
assert decoded.shape == picture.shape
assert error < 200
