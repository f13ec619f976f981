"""What a network of the transport codec is made of, and the ones that have names."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aquatint.codecs.hyperprior.architecture import LATENT_STRIDE, Architecture, of_json
from aquatint.errors import UsageError

__all__ = ["ARCHITECTURES", "LATENT_STRIDE", "MOST_STAGES", "Transport"]

MOST_STAGES = 8


@dataclass(frozen=True)
class Transport:
    """One composition.

    Attributes:
        channels: width of the transforms at strides 4 and 8.
        features: their channels at stride 16.
        dimensions: of the latent vectors, one for each 16x16 pixels.
        codes: of each stage, a power of 2 from 2 to 4096.
        stages: codebooks; each codes what the ones before have left.
        hidden: width of the context model.

    Raises:
        UsageError: a value is out of range.
    """

    channels: tuple[int, int]
    features: int
    dimensions: int
    codes: int
    stages: int
    hidden: int

    def __post_init__(self) -> None:
        limits = {"features": 768, "dimensions": self.features, "stages": MOST_STAGES, "hidden": 512}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be from 1 to {most}, not {getattr(self, name)}")
        if not 2 <= self.codes <= 4096 or self.codes & (self.codes - 1):
            raise UsageError(f"codes must be a power of 2 from 2 to 4096, not {self.codes}")
        _ = self.transforms

    @property
    def bits(self) -> int:
        """Of a fixed-length index."""
        return self.codes.bit_length() - 1

    @property
    def transforms(self) -> Architecture:
        """Whose analysis and synthesis the network has: those of the hyperprior family, at one rate."""
        return Architecture("residual", self.channels, self.features, 0, "factorized")

    def to_json(self) -> dict[str, object]:
        """The attributes as values that JSON has."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> Transport:
        """The inverse of `to_json`.

        Raises:
            UsageError: a name is unknown or missing, or a value is of the wrong type.
        """
        return of_json(cls, values)


ARCHITECTURES = {
    # 256 codes at stride 16 are 0.031 bits a pixel and stage, the rate of the paper; small enough to ship.
    "transport": Transport((48, 96), 192, 24, 256, 4, 96),
}
