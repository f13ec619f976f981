"""What a network of the extreme codec is made of, and the ones that have names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from aquatint.codecs.hyperprior.architecture import Architecture, of_json
from aquatint.errors import UsageError

STRIDE = 16  # pixels in each direction that sides are brought to multiples of
MOST_CHANNELS = 16
MOST_CLASSES = 255

# The classes of CamVid as segmentation networks have them, in the order of their numbers.
CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    "void",
)


@dataclass(frozen=True)
class Extreme:
    """One composition.

    Attributes:
        transform: "pix2pix", convolutions from stride 1 down and residual blocks behind the bottleneck, as in the paper
            (Wang et al. 2018, arXiv 1711.11585); or "residual", that of the compact hyperprior network, which begins as
            a cosine transform and has few channels where there are many pixels.
        widths: channels at stride 1 for "pix2pix", where each stride has twice those before; those at strides 4, 8 and
            16 for "residual".
        channels: how many channels of symbols a file may have, rising: what stands for rates. One number in the paper.
        hidden: width of the context model.
        blocks: residual blocks of a "pix2pix" generator, else 0.
        norm: of a "pix2pix" network: "channel", over the channels of each place (Mentzer et al. 2020), or "instance",
            over the picture, the paper's, with which a crop decodes differently; "none" for "residual".
        classes: names of the labels of selective compression; none for generative compression.
        label_stride: pixels a label, in each direction: 1, 2, 4, 8 or 16.

    Raises:
        UsageError: a value is out of range, or the parts do not fit together.
    """

    transform: str
    widths: tuple[int, ...]
    channels: tuple[int, ...]
    hidden: int
    blocks: int = 0
    norm: str = "none"
    classes: tuple[str, ...] = ()
    label_stride: int = 1

    def __post_init__(self) -> None:
        def check(valid: bool, message: str) -> None:
            if not valid:
                raise UsageError(message)

        paper = self.transform == "pix2pix"
        check(self.transform in ("pix2pix", "residual"), f"transform {self.transform!r} is not pix2pix or residual")
        wanted = 1 if paper else 3
        check(len(self.widths) == wanted, f"a {self.transform} network has {wanted} widths, not {len(self.widths)}")
        for width in (*self.widths, self.hidden):
            check(2 <= width <= 768, f"widths and hidden must be from 2 to 768, not {width}")
        check(
            bool(self.channels) and all(low < high for low, high in pairwise((0, *self.channels, MOST_CHANNELS + 1))),
            f"channels must rise from 1 or more to {MOST_CHANNELS} at most, not {self.channels}",
        )
        if paper:
            check(1 <= self.blocks <= 32, f"blocks must be from 1 to 32, not {self.blocks}")
            check(self.norm in ("channel", "instance"), f"norm must be channel or instance, not {self.norm!r}")
        else:
            check(self.blocks == 0, f"a residual network has no number of blocks, not {self.blocks}")
            check(self.norm == "none", f"a residual network has no norm, not {self.norm!r}")
            check(self.channels[-1] <= self.widths[2], f"{self.channels[-1]} channels exceed the width at stride 16")
        check(len(self.classes) <= MOST_CLASSES, f"there are {len(self.classes)} classes; {MOST_CLASSES} are the limit")
        check(len(set(self.classes)) == len(self.classes), f"classes {self.classes} have a name twice")
        check(self.label_stride in (1, 2, 4, 8, 16), f"label_stride must be 1, 2, 4, 8 or 16, not {self.label_stride}")

    @property
    def selective(self) -> bool:
        """Whether pictures are coded in parts, and the rest synthesised from labels."""
        return bool(self.classes)

    @property
    def stride(self) -> int:
        """Pixels a symbol, in each direction: 8 for the paper's networks of selective compression, else 16."""
        return 8 if self.selective and self.transform == "pix2pix" else 16

    @property
    def transforms(self) -> Architecture:
        """Whose analysis and synthesis a "residual" network has."""
        fine, middle, coarse = self.widths
        return Architecture("residual", (fine, middle), coarse, 0, "factorized")

    def to_json(self) -> dict[str, object]:
        """The attributes as values that JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> Extreme:
        """The inverse of `to_json`.

        Raises:
            UsageError: a name is unknown or missing, or a value is of the wrong type.
        """
        return of_json(cls, values)


def _paper(channels: int, width: int = 60) -> Extreme:
    return Extreme("pix2pix", (width,), (channels,), 32, blocks=9, norm="channel")


_SMALL = Extreme("residual", (48, 96, 256), (2, 4, 8), 48)

ARCHITECTURES = {
    # The paper's networks, one for each rate, but for the norm: "instance" is theirs.
    **{f"gc-{channels}": _paper(channels) for channels in (2, 4, 8)},
    **{f"gc-{channels}-instance": replace(_paper(channels), norm="instance") for channels in (2, 4, 8)},
    **{f"sc-{channels}": replace(_paper(channels), classes=CAMVID) for channels in (2, 4, 8)},
    # The same in a size that a processor evaluates, with 4.5 million parameters.
    **{f"gc-{channels}-narrow": _paper(channels, 10) for channels in (2, 4, 8)},
    # Made for processors, and to be shipped: one network for all three rates.
    "gc": _SMALL,
    "sc": replace(_SMALL, classes=CAMVID, label_stride=4),
}
