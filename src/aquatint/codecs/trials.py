"""What an encoder with a trained model says while it tries payloads for a target."""

from __future__ import annotations

import math
import time

from aquatint.codecs import Progress
from aquatint.codecs.options import Options


class Trials:
    """Counts payloads, from now on, and reports each of them.

    Arguments:
        options: whose `progress` is called, if there is one.
        pixels: of the picture.
        overhead: bytes of the file around a payload.
        usual: how many payloads are usually tried.
    """

    def __init__(self, options: Options, pixels: int, overhead: int, usual: int) -> None:
        self._progress, self._pixels, self._overhead, self._usual = options.progress, pixels, overhead, usual
        self._start, self._tried = time.perf_counter(), 0

    def report(self, payload: bytes) -> None:
        """Counts and reports one payload."""
        self._tried += 1
        if self._progress is not None:
            seconds = time.perf_counter() - self._start
            bpp = 8 * (len(payload) + self._overhead) / self._pixels
            steps = max(self._tried, self._usual)
            self._progress(Progress(self._tried, steps, bpp, math.nan, seconds, seconds / self._tried))
