"""The weight-free feature stack, as numbers: native/wasserstein_kernels.cpp and features.py both follow this text.

The picture in the colours of JPEG, luma and two chromas, becomes a Gaussian pyramid: [1 2 1]/4 across and down, every
second sample kept, borders replicated. Every level of every colour is a map, but for the chromas at full size, where
the eye does not resolve them. With the 3-tap filters

    b = [1 2 1]/4      d = [-1 0 1]/2      l = [-1 2 -1]/2

across and down, a level G has the derivatives x = db, y = bd, xx = lb, yy = bl, xy = -dd/2 (first letter: across), and
steering gives those along directions t = 0, 45, 90, 135 degrees (Freeman and Adelson, 1991):

    odd(t) = cos t x + sin t y              even(t) = cos^2 t xx + 2 cos t sin t xy + sin^2 t yy

Odd and even filters are of equal gain at a quarter of the sampling rate: a quadrature pair, the real and imaginary part
of a complex pyramid with bands of an octave. A map's nine responses are G itself (luma less 1/2), even(t) and odd(t),
times a gain that makes their standard deviation about 1 over photographs. Each is rectified to both sides, max(r, 0)
and max(-r, 0): 18 features, whose local means and deviations tell contrast, its sparsity, polarity and direction.
"""

from __future__ import annotations

import numpy as np

LEVELS = 5

# From RGB to luma and chromas, ITU-T T.871. The chromas' contrast is a fifth of luma's in photographs, and they count
# by it: with the gains of luma. Gains of their own would let them outweigh it many times in a coded picture.
COLOURS = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
    dtype=np.float32,
)

# 1 / standard deviation in photographs of luma itself, its even and odd responses. Their spectrum falls so that it is
# nearly the same on all levels: measured on 26 photographs of CID22, even .034 to .048 and odd .043 to .063.
PIXEL_GAIN, EVEN_GAIN, ODD_GAIN = 4.0, 25.0, 20.0

# (colour, level) of the maps, in order.
MAPS = [(colour, level) for colour in range(3) for level in range(colour > 0, LEVELS)]
