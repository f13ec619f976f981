"""Recipes: every number of a training, with the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """What every training needs to know."""

    steps: int
    """Steps of the optimiser."""
    batch: int = 16
    """Crops a step, over all processes; 16 in CompressAI's documentation."""
    crop: int = 256
    """Side of a crop in pixels: four hyper-latents, so that most of them are not at an edge."""
    smallest_scale: float = 0.6
    """Photographs are scaled down to this at most: it hides JPEG artefacts and varies the size of texture."""
    learning_rate: float = 1e-4
    """Of Adam; CompressAI's."""
    warmup: int = 500
    """Steps until the learning rate is reached: Adam's second moments are poor at first."""
    decay: float = 0.3
    """Fraction of the steps, the last ones, in which the learning rate falls to 0."""
    square_decay: float = 0.999
    """Of Adam's mean of squared gradients."""
    clip: float = 1.0
    """Largest norm of the gradient; CompressAI's."""
    ema: float = 0.999
    """Decay of the running mean of the weights, which is what is validated and exported."""
    seed: int = 0
    """Of initial weights, crops and noise."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is half again as fast where the processor has it; edges of the transforms and bits stay in float32."""
    holdout: int = 20
    """Every so-manieth photograph is for validation only."""
    validation_crops: int = 24
    """Crops that are validated: enough for differences of 1 %."""
    log_every: int = 50
    """Steps between two lines of the log."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints, validations and sample pictures."""


@dataclass(frozen=True)
class RateDistortion(Recipe):
    """Trains a network of the hyperprior family for rate + lambda 255^2 MSE, at one rate or at all."""

    architecture: str = "mean-scale"
    """Name of the network, see `aquatint.codecs.hyperprior.architecture`."""
    largest_lambda: float = 0.0932
    """lambda at step 1; at others it is this / step^2 (Kamisli et al. 2024). That of 1 bpp or so."""
    rates: Literal["single", "random", "mgda"] = "single"
    """One step only; steps spread at random over the range; or eight steps that share a min-norm gradient."""
    step: float = 1.0
    """The quantisation step if it is only one."""
    balance: float = 0.9
    """The loss of a step is weighed by step^balance: it makes losses of all rates alike, where a plain sum follows the
    high rates alone (measured on published curves: loss falls as lambda^0.45)."""
    normalise: Literal["none", "loss", "norm"] = "loss"
    """By what MGDA divides each gradient: plain MGDA follows the smallest one, which is that of the low rates."""


@dataclass(frozen=True)
class Posttrain(RateDistortion):
    """Makes a trained network of one rate one of variable rate; what it adds starts as the identity."""

    rates: Literal["single", "random", "mgda"] = "mgda"
    max_step: float = 7.2
    """sqrt(.0932 / .0018): the ratio of the lambdas of CompressAI's qualities 7 and 1."""
    offset: Literal["none", "mlp", "centroid"] = "mlp"
    """The quantisation-reconstruction offset."""
    hyper_step: bool = True
    """Learn a step for the hyper-latents. The autoregressive model keeps theirs at 1 (Kamisli et al. 2024)."""
    conditioned: bool = True
    """Gains that follow the rate, in both transforms. Published models without them need 5 to 22 % more bits under
    31 dB than separate ones, because their transforms are those of the highest rate."""


@dataclass(frozen=True)
class TransportStage(Recipe):
    """Trains a network of the transport codec, one stage after the other; each starts from the one before."""

    architecture: str = "transport"
    """Name of the network, see `aquatint.codecs.transport.architecture`."""
    stage: Literal["autoencoder", "noise", "transport"] = "transport"
    """Latents as they are; with uniform noise; or quantised by a Laguerre quantiser."""
    noise: float = 0.1
    """Standard deviation of the noise in each dimension: about what a few stages of codes leave."""
    size: float = 0.01
    """Weight of the latents' mean square, without which they outgrow the noise."""
    commitment: float = 0.25
    """Weight of the distance to codes; VQ-VAE's (van den Oord et al. 2017)."""


# The shipped model. It sees few pixels, so it learns fast: small batches, and a rate that is high until the end.
COMPACT = RateDistortion(
    steps=10_000,
    batch=4,  # with crops of 160 what a core does in a seventh of a second: many steps matter more than exact ones
    crop=160,  # 2.5 hyper-latents; 256 would leave two crops a step
    learning_rate=2e-3,  # the blocks are residual: many times the rate for GDN; 4e-3 diverges
    warmup=200,
    square_decay=0.98,  # gradients fall by a factor of 10 in the first hundred steps
    smallest_scale=0.5,
    precision="bfloat16",
    architecture="compact",
    largest_lambda=0.06,  # 1 bpp or so; over 14^2 it is 0.0003, 0.05 bpp
    rates="random",
)


def _stage(stage: Literal["autoencoder", "noise", "transport"], steps: int) -> TransportStage:
    return TransportStage(
        steps=steps,
        batch=8,  # 800 vectors a step, three for each code
        crop=160,
        learning_rate=1e-3,
        warmup=200,
        square_decay=0.98,
        smallest_scale=0.5,
        precision="bfloat16",
        stage=stage,
    )


RECIPES: dict[str, RateDistortion | TransportStage] = {
    "compact": COMPACT,
    "factorized": RateDistortion(steps=1_000_000, architecture="factorized"),
    "scale-hyperprior": RateDistortion(steps=1_000_000, architecture="scale-hyperprior"),
    "mean-scale": RateDistortion(steps=1_000_000, architecture="mean-scale"),
    "autoregressive": RateDistortion(steps=1_000_000, architecture="autoregressive"),
    "vr-posttrain": Posttrain(
        steps=100_000,
        learning_rate=5e-5,  # half of the base training's: weights are good for one rate already
        warmup=100,
    ),
    # The transport codec in its stages. Learning rates are those of the compact network, which has the same blocks.
    "transport-autoencoder": _stage("autoencoder", 2000),
    "transport-noise": _stage("noise", 2000),
    "transport": _stage("transport", 20_000),
}
