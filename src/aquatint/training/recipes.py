"""Recipes: every number of a training, with the reason for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    """bfloat16 is half again as fast where the device has it, and not used elsewhere; edges of the transforms and bits
    stay in float32."""
    holdout: int = 20
    """Every so-manieth photograph is for validation only."""
    validation_crops: int = 24
    """Crops that are validated: enough for differences of 1 %."""
    log_every: int = 50
    """Steps between two lines of the log."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints, validations and sample pictures."""

    @property
    def decays(self) -> tuple[float, float]:
        """Of Adam's running means of gradients and of their squares."""
        return 0.9, self.square_decay

    def pace(self, phase: str) -> float:
        """The learning rate of a phase as a multiple of `learning_rate`."""
        return 1.0


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
    hard: float = 0.0
    """Fraction of the steps, the last ones, in which latents are rounded as in a file and the analysis is frozen, while
    the rest learns what rounded latents are like: noise in place of rounding makes low rates look dear (Guo et al.
    2021, arXiv 2104.05168)."""
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
class Labels(Recipe):
    """Trains a labeler, which tells a discriminator what kinds of patches there are."""

    width: int = 64
    """Channels of its networks where they are fewest."""
    codes: int = 1024
    """Labels."""
    commitment: float = 0.25
    """Weight of the distance of features from their codes, which keeps them near (van den Oord et al. 2017)."""
    evenness: float = 0.5
    """Weight of how far the use of codes is from an even one: rare kinds of patches are worth labels too."""
    lpips: Literal["alex", "squeeze", "vgg"] = "squeeze"
    """The network of LPIPS."""


@dataclass(frozen=True)
class TargetRate(Recipe):
    """Trains a network for MSE and LPIPS at rates that are met, the stage before a discriminator."""

    architecture: str = "hific"
    """Name of the network, see `aquatint.codecs.hyperprior.architecture`."""
    bpp: float = 0.14
    """Wanted bits per pixel of every picture, at step 1."""
    least_bpp: float = 0.14
    """The same at the largest step; the same number for a network of one rate."""
    below: float = 2**-4
    """Weight of a bit per pixel where the target is met; HiFiC's code has 2^-6, its port and MS-ILLM this."""
    easing: int = 50_000
    """Steps in which the target is higher by 0.20 / 0.14 and bits cost half."""
    mse: float = 150
    """Weight of the mean squared error of samples in [0, 1]."""
    lpips: Literal["alex", "squeeze", "vgg"] = "squeeze"
    """The network of LPIPS, whose weight is 1; alex in both papers."""


@dataclass(frozen=True)
class Generative(Recipe):
    """Trains a generator for the streams of a trained model."""

    encoder: str = "compact"
    """The model: its name, path or id on the Hugging Face hub."""
    discriminator: Literal["none", "patchgan", "labels"] = "none"
    """None; which patches are real (HiFiC); or which kind of real patch is this, or none (MS-ILLM)."""
    discriminator_width: int = 32
    """Channels where it has fewest of its usual ones: 64 for patchgan and 128 for labels in the papers."""
    labeler: str = ""
    """Run or checkpoint of the labeler, for labels."""
    width: int = 0
    """Channels of HiFiC's generator at stride 1, 60 in the paper; 0 for the structure of the model's own synthesis."""
    blocks: int = 5
    """Residual blocks of that generator; 9 in the paper."""
    noise: int = 0
    """Common randomness: so many samples in each direction for each place of the generator's last stage but one."""
    mse: float = 150
    """Weight of the mean squared error of samples in [0, 1]; 152 for HiFiC."""
    lpips: Literal["alex", "squeeze", "vgg"] = "squeeze"
    """The network of LPIPS, whose weight is 1; alex in both papers."""
    adversarial: float = 0.0
    """Weight of the generator's adversarial loss: 0.15 for HiFiC, 0.008 for MS-ILLM."""
    pull: float = 0.0
    """If above 0, `adversarial` is replaced in each step by the weight with which the discriminator's gradient at the
    decoded pixels is this fraction of the distortion's (Esser et al. 2021, equation 7)."""
    head_start: int = 0
    """Steps in which the discriminator learns but does not pull: at first its gradient means nothing, which `pull`
    would make loud."""
    discriminator_pace: float = 4.0
    """The discriminator's learning rate over that of the generator; 1 for HiFiC, 4 for MS-ILLM."""
    momentum: float = 0.5
    """Of Adam, as usual with an adversary, whose gradients turn."""

    @property
    def decays(self) -> tuple[float, float]:
        return self.momentum, self.square_decay

    def pace(self, phase: str) -> float:
        return self.discriminator_pace if phase == "discriminator" else 1.0


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
    commitment: float = 2.0
    """Weight of the distance to codes: a quarter, as in VQ-VAE (van den Oord et al. 2017), of what the same distance
    costs in pixels, to which latents are isometric at first. With much less the analysis runs away from the codes."""
    upkeep: Literal["annealed", "balanced", "revival", "none", "lattice"] = "annealed"
    """What keeps codes in use: transport, relaxed in time or held to the end (for indices of fixed length); moving
    unused codes to random vectors; nothing, which is plain vector quantisation; or codes that never move, on a grid of
    four levels a dimension, as in finite scalar quantisation."""


@dataclass(frozen=True)
class TransportAdversarial(Recipe):
    """Trains the decoder of the transport codec against a discriminator; all else stays as it is in the base."""

    discriminator_width: int = 32
    """Channels of the discriminator's first convolution; 64 in HiFiC."""
    mse: float = 150
    """Weight of the mean squared error of samples in [0, 1]; 152 for HiFiC."""
    lpips: Literal["alex", "squeeze", "vgg"] = "squeeze"
    """The network of LPIPS, whose weight is 1."""
    adversarial: float = 0.15
    """Weight of the generator's adversarial loss; HiFiC's."""
    smoothness: float = 1.0
    """Standard deviation, in latents, of the filter over noise that becomes codes."""
    momentum: float = 0.5
    """Of Adam, as usual with an adversary, whose gradients turn."""

    @property
    def decays(self) -> tuple[float, float]:
        return self.momentum, self.square_decay


@dataclass(frozen=True)
class ExtremeRecipe(Recipe):
    """Trains a network of the extreme codec: generative or selective compression, or the baseline for MSE alone."""

    architecture: str = "gc"
    """Name of the network, see `aquatint.codecs.extreme.architecture`."""
    mse: float = 10
    """Weight of the mean squared error of samples in [-1, 1]; lambda of the paper."""
    adversarial: float = 1
    """Weight of the least-squares loss; 0 for no discriminator."""
    matching: float = 10
    """Weight of the matching of the discriminators' features; pix2pixHD's."""
    perceptual_weight: float = 10
    """Weight of the perceptual distance; pix2pixHD's for VGG19."""
    perceptual: Literal["vgg19", "lpips", "steerable"] = "vgg19"
    """VGG19 as in the paper; LPIPS with SqueezeNet, a tenth of the work; or features without weights."""
    discriminator_width: int = 64
    """Channels of the discriminators' first convolution; the paper's."""
    scales: int = 3
    """Discriminators; pix2pixHD has 2 below 1024x512 pixels."""
    judged_classes: int = 0
    """If above 0, discriminators see maps of so many classes, the coder does not: GC(D+)."""
    preserve: Literal["instances", "box"] = "instances"
    """Of selective compression: a quarter of the instances (RI), or a box (RB)."""
    head_start: int = 0
    """Steps in which the discriminators learn but are not listened to."""
    momentum: float = 0.5
    """Of Adam, as in pix2pixHD."""

    @property
    def decays(self) -> tuple[float, float]:
        return self.momentum, self.square_decay

    def pace(self, phase: str) -> float:
        # The context model follows the symbols, which it does not move.
        return 4.0 if phase == "context" else 1.0


@dataclass(frozen=True)
class ExtremeSampler(Recipe):
    """Trains a sampler of the symbols of a trained model, a Wasserstein GAN with gradient penalty."""

    encoder: str = "gc"
    """The model: its name, path or id on the Hugging Face hub."""
    width: int = 64
    """Channels of both networks where they are fewest; the paper's."""
    penalty: float = 10
    """Weight of the gradient penalty; the paper's."""
    critic_steps: int = 5
    """Steps of the critic to one of the sampler; the paper's."""

    @property
    def decays(self) -> tuple[float, float]:
        return 0.0, self.square_decay


RATE_DISTORTION: dict[str, RateDistortion] = {
    # The shipped model. It sees few pixels, so it learns fast: small batches, and a rate that is high until the end.
    "compact": RateDistortion(
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
        hard=0.3,  # where the learning rate falls
    ),
    "factorized": RateDistortion(steps=1_000_000, architecture="factorized"),
    "scale-hyperprior": RateDistortion(steps=1_000_000, architecture="scale-hyperprior"),
    "mean-scale": RateDistortion(steps=1_000_000, architecture="mean-scale"),
    "autoregressive": RateDistortion(steps=1_000_000, architecture="autoregressive"),
    "vr-posttrain": Posttrain(
        steps=100_000,
        learning_rate=5e-5,  # half of the base training's: weights are good for one rate already
        warmup=100,
    ),
}

# Crops of 128 are two places of the coarsest level of the discriminator of labels, and fit a processor.
_SMALL = Generative(steps=4000, batch=8, crop=128, warmup=50, square_decay=0.9, ema=0.995, precision="bfloat16")
# So few steps need a faster generator and a smaller weight of the squared error than the papers' 1e-4 and 150: with
# those no texture appears. With the pull that is right for patches a discriminator of labels paints coloured grain.
_ADVERSARIAL = replace(_SMALL, learning_rate=4e-4, discriminator_pace=1, mse=20)

# Learning rates are those of the compact network, which has the same blocks.
_TRANSPORT = TransportStage(
    steps=2000,
    batch=8,  # 800 vectors a step, three for each code
    crop=160,
    learning_rate=1e-3,
    warmup=200,
    square_decay=0.98,
    smallest_scale=0.5,
    precision="bfloat16",
)

# The paper's: batches of one, and instance normalisation where the architecture says so.
_PAPER = ExtremeRecipe(
    steps=280_000,  # Open Images; 150 000 for Cityscapes
    batch=1,
    crop=512,
    architecture="gc-4-instance",
    learning_rate=2e-4,
    clip=1e9,  # pix2pixHD does not clip
)
# For a processor: few pixels, a network that begins as a cosine transform, and discriminators a quarter as wide.
_EXTREME = ExtremeRecipe(
    steps=12_000,
    batch=6,  # two crops for each number of channels
    crop=160,  # 10 by 10 symbols
    learning_rate=5e-4,
    warmup=200,
    square_decay=0.98,
    smallest_scale=0.5,
    ema=0.995,
    precision="bfloat16",
    perceptual="lpips",
    discriminator_width=16,
    scales=2,
    head_start=200,
)

RECIPES: dict[str, Recipe] = {
    **RATE_DISTORTION,
    "hific-base": TargetRate(steps=1_000_000, batch=16, smallest_scale=0.75),
    "perceptual": replace(_SMALL, momentum=0.9, square_decay=0.99, learning_rate=5e-4),
    "hific": replace(_ADVERSARIAL, discriminator="patchgan", adversarial=0.15, pull=2, head_start=100),
    "illm": replace(_ADVERSARIAL, discriminator="labels", adversarial=0.008, pull=0.5, head_start=300),
    # The networks of the paper; how they were trained is not public. Square decay and evenness are ours.
    "labeler": Labels(steps=300_000, batch=16, learning_rate=1e-4, square_decay=0.99, smallest_scale=0.5),
    # For a processor.
    "labeler-small": Labels(
        steps=1500,
        batch=6,
        crop=128,  # two of the discriminator's coarsest places
        learning_rate=2e-3,
        warmup=100,
        square_decay=0.98,
        smallest_scale=0.5,
        ema=0.99,
        precision="bfloat16",
        width=16,
        codes=256,  # each is met 6 times a step
    ),
    # The extreme codec: the paper's networks, and small ones.
    "extreme-paper": _PAPER,
    "extreme-paper-mse": replace(_PAPER, adversarial=0, matching=0, perceptual_weight=0),
    "extreme": _EXTREME,
    "extreme-mse": replace(_EXTREME, adversarial=0, matching=0, perceptual_weight=0, head_start=0, momentum=0.9),
    "extreme-labels": replace(_EXTREME, judged_classes=12),
    "extreme-selective": replace(_EXTREME, architecture="sc"),
    "extreme-sampler": ExtremeSampler(
        steps=200_000,
        batch=64,
        crop=256,
        learning_rate=1e-4,
        square_decay=0.9,
        clip=1e9,  # the penalty keeps gradients small
        smallest_scale=0.5,
    ),
    # The transport codec in its stages.
    "transport-autoencoder": replace(_TRANSPORT, stage="autoencoder"),
    "transport-noise": replace(_TRANSPORT, stage="noise"),
    "transport": replace(_TRANSPORT, steps=20_000, learning_rate=4e-4),
    "transport-gan": TransportAdversarial(
        steps=4000, batch=8, crop=128, learning_rate=1e-4, warmup=50, square_decay=0.9, ema=0.995, precision="bfloat16"
    ),
}
