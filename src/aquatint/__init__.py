"""Aquatint: an image codec for photographs at very low rates.

    data = aquatint.encode("photo.png", quality=40)
    picture = aquatint.decode(data)
    picture.write("decoded.png")

Names are imported when they are first used, so that `import aquatint` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "AquatintError",
    "BadMagicError",
    "ChecksumError",
    "CorruptStreamError",
    "DependencyError",
    "Encoded",
    "FileFormatError",
    "Header",
    "Image",
    "ImageError",
    "LimitError",
    "MissingModelError",
    "ModelError",
    "ModelMismatchError",
    "Options",
    "Progress",
    "RateError",
    "Report",
    "Target",
    "TrainingError",
    "TruncatedError",
    "UnsupportedFeatureError",
    "UnsupportedVersionError",
    "UsageError",
    "compress",
    "decode",
    "encode",
    "from_array",
    "from_pil",
    "probe",
    "read",
]

if TYPE_CHECKING:
    from aquatint.api import Encoded, compress, decode, encode
    from aquatint.codecs import Progress, Report
    from aquatint.codecs.options import Options
    from aquatint.codecs.target import Target
    from aquatint.container import Header, probe
    from aquatint.errors import (
        AquatintError,
        BadMagicError,
        ChecksumError,
        CorruptStreamError,
        DependencyError,
        FileFormatError,
        ImageError,
        LimitError,
        MissingModelError,
        ModelError,
        ModelMismatchError,
        RateError,
        TrainingError,
        TruncatedError,
        UnsupportedFeatureError,
        UnsupportedVersionError,
        UsageError,
    )
    from aquatint.image import Image, from_array, from_pil, read

_HOMES = {
    "Encoded": "api",
    "Header": "container",
    "Image": "image",
    "Options": "codecs.options",
    "Progress": "codecs",
    "Report": "codecs",
    "Target": "codecs.target",
    "compress": "api",
    "decode": "api",
    "encode": "api",
    "from_array": "image",
    "from_pil": "image",
    "probe": "container",
    "read": "image",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
