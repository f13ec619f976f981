"""What a network of the hyperprior family is made of, and the members that have names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from aquatint.errors import UsageError

TRANSFORMS = ("gdn", "residual", "hific")
ENTROPY_MODELS = ("factorized", "scale", "mean-scale", "autoregressive", "channelwise")
LATENT_STRIDE = 16  # pixels a latent, in each direction
HYPER_STRIDE = 4  # latents a hyper-latent


AnyArchitecture = TypeVar("AnyArchitecture")


def of_json(cls: type[AnyArchitecture], values: object) -> AnyArchitecture:
    """An architecture, a frozen dataclass, from the values that JSON has of it.

    Raises:
        UsageError: a name is unknown or missing, or a value is of the wrong type or out of range.
    """
    if not isinstance(values, dict):
        raise UsageError(f"an architecture is an object, not {type(values).__name__}")
    given: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
    if unknown := given.keys() - {field.name for field in fields(cls)}:  # type: ignore[arg-type]
        raise UsageError(f"an architecture has no {', '.join(sorted(unknown))}")
    try:
        return cls(**given)
    except TypeError as error:
        raise UsageError(f"the architecture is not valid: {error}") from None


@dataclass(frozen=True)
class Architecture:
    """One composition of parts.

    Attributes:
        transform: "gdn", four 5x5 convolutions with generalised divisive normalisation (Ballé et al. 2018,
            arXiv 1802.01436); "residual", bottleneck blocks at strides 4, 8 and 16; or "hific", normalisation over
            channels and residual blocks at stride 16 (Mentzer et al. 2020, arXiv 2006.09965).
        channels: width of the transform, one number for "gdn", one for each of the strides 4 and 8 for "residual", and
            that at stride 1 for "hific", which doubles with each stride.
        latents: channels of the latents y, which have one sixteenth of the picture's rows and columns.
        hyper: channels of the hyper-latents z; 0 for an entropy model without.
        entropy: "factorized" (y has a learned density a channel); "scale" (z gives scales); "mean-scale" (z gives means
            and scales; Minnen et al. 2018, arXiv 1809.02736); "autoregressive" (so do z and causal neighbours, ibid.);
            "channelwise" (so do z and earlier groups of channels; Minnen & Singh 2020, arXiv 2007.08739).
        groups: channels of each group if the entropy model is "channelwise"; they sum to `latents`.
        max_step: the largest quantisation step; steps go from 1 to this.
        conditioned: gains of the channels of both transforms follow the step, and the hyper-synthesis sees it.
        hyper_step: the hyper-latents have a learned quantisation step that follows that of the latents.
        offset: decoded residuals move towards their bin's centroid: "none", "mlp" or "centroid" (see `offsets`).
        blocks: residual blocks of a "hific" synthesis, else 0.
        noise: common randomness for the last stage but one of the synthesis, so many samples in each direction for each
            place of its input; 0 for none.

    Raises:
        UsageError: the parts do not fit together.
    """

    transform: str
    channels: tuple[int, ...]
    latents: int
    hyper: int
    entropy: str
    groups: tuple[int, ...] = ()
    max_step: float = 1.0
    conditioned: bool = False
    hyper_step: bool = False
    offset: str = "none"
    blocks: int = 0
    noise: int = 0

    def __post_init__(self) -> None:
        def check(valid: bool, message: str) -> None:
            if not valid:
                raise UsageError(message)

        check(self.transform in TRANSFORMS, f"transform {self.transform!r} is not one of {', '.join(TRANSFORMS)}")
        check(self.entropy in ENTROPY_MODELS, f"entropy model {self.entropy!r} is not one of {ENTROPY_MODELS}")
        wanted = {"gdn": 1, "residual": 2, "hific": 1}[self.transform]
        check(
            len(self.channels) == wanted, f"a {self.transform} transform has {wanted} widths, not {len(self.channels)}"
        )
        for name, width in (("latents", self.latents), *(("channels", width) for width in self.channels)):
            check(1 <= width <= 1024, f"{name} must be from 1 to 1024, not {width}")
        if self.transform == "hific":
            check(1 <= self.blocks <= 32, f"blocks must be from 1 to 32, not {self.blocks}")
        else:
            check(self.blocks == 0, f"a {self.transform} transform has no number of blocks, not {self.blocks}")
        if self.entropy == "factorized":
            check(self.hyper == 0, f"a factorized entropy model has no hyper-latents, not {self.hyper} channels")
            check(not self.hyper_step, "a factorized entropy model has no hyper-latents whose step could be learned")
        else:
            check(1 <= self.hyper <= 1024, f"hyper must be from 1 to 1024, not {self.hyper}")
        if self.entropy == "channelwise":
            check(sum(self.groups) == self.latents, f"groups {self.groups} do not sum to {self.latents} latents")
            check(all(group > 0 for group in self.groups), f"groups {self.groups} must be positive")
        else:
            check(not self.groups, f"an entropy model of kind {self.entropy} has no groups, not {self.groups}")
        check(0 <= self.noise <= 8, f"noise must be from 0 to 8 samples, not {self.noise}")
        check(1 <= self.max_step <= 64, f"max_step must be from 1 to 64, not {self.max_step}")
        check(self.offset in ("none", "mlp", "centroid"), f"offset {self.offset!r} is not none, mlp or centroid")

    def to_json(self) -> dict[str, object]:
        """The attributes as values that JSON has; `blocks` and `noise` only where there are any, as older files do."""
        return {name: value for name, value in asdict(self).items() if name not in ("blocks", "noise") or value}

    @classmethod
    def from_json(cls, values: object) -> Architecture:
        """The inverse of `to_json`.

        Raises:
            UsageError: a name is unknown or missing, or a value is of the wrong type.
        """
        return of_json(cls, values)


# The widths of the published models for low rates; above 0.5 bpp they have 192 channels and 320 latents.
ARCHITECTURES = {
    "factorized": Architecture("gdn", (128,), 192, 0, "factorized"),
    "scale-hyperprior": Architecture("gdn", (128,), 192, 128, "scale"),
    "mean-scale": Architecture("gdn", (128,), 192, 128, "mean-scale"),
    "autoregressive": Architecture("gdn", (192,), 192, 192, "autoregressive"),
    # HiFiC's, in its full size, at one rate: 181 million parameters.
    "hific": Architecture("hific", (60,), 220, 320, "mean-scale", blocks=9),
    # Made for processors: few channels where there are many pixels, most weights at stride 16; one network for all
    # rates from 0.05 to 1 bit per pixel.
    "compact": Architecture(
        "residual",
        (48, 96),
        256,
        64,
        "channelwise",
        groups=(16, 48, 64, 128),
        max_step=14.0,
        conditioned=True,
        hyper_step=True,
        offset="mlp",
    ),
}
# What ablations of the variable rate start from.
ARCHITECTURES["compact-plain"] = replace(ARCHITECTURES["compact"], conditioned=False, hyper_step=False, offset="none")
