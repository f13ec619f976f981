"""Published curves on well-known sets of photographs, each with its source.

A file holds the points (bits per pixel, value) of codecs by metric. LPIPS is that of AlexNet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aquatint.errors import UsageError

DATASETS = ("kodak", "clic2020-valid", "clic2020-test")


@dataclass(frozen=True)
class Baseline:
    """A codec as its authors or others have published it.

    Attributes:
        name: of the codec.
        note: which variant; may be empty.
        source: where the numbers are from, and what is odd about them.
        curves: points (N, 2) of bits per pixel and value, by name of the metric.
    """

    name: str
    note: str
    source: str
    curves: Mapping[str, np.ndarray]


def load(dataset: str) -> list[Baseline]:
    """The published curves on a set of photographs.

    Raises:
        UsageError: there are none.
    """
    if dataset not in DATASETS:
        raise UsageError(f"there are no baselines for {dataset!r}, but for {', '.join(DATASETS)}")
    text = resources.files(__name__).joinpath(f"{dataset}.json").read_text()
    return [
        Baseline(
            entry["name"],
            entry.get("note", ""),
            entry["source"],
            {metric: np.array(points, float) for metric, points in entry["curves"].items()},
        )
        for entry in json.loads(text)["codecs"]
    ]
