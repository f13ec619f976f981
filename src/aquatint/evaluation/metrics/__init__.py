"""Metrics: numbers for how a picture differs from another, or a set of pictures from another.

from aquatint.evaluation.metrics import METRICS, measure

measure(reference, distorted, ["psnr", "ms-ssim"])    # {"psnr": 31.2, "ms-ssim": 0.953}
METRICS["psnr"].higher_is_better                      # True
"""

from aquatint.evaluation.metrics.registry import (
    METRICS,
    Metric,
    SetFeatures,
    compare_sets,
    measure,
    measure_sets,
    missing,
    select,
    set_features,
)

__all__ = [
    "METRICS",
    "Metric",
    "SetFeatures",
    "compare_sets",
    "measure",
    "measure_sets",
    "missing",
    "select",
    "set_features",
]
