"""Everything that Aquatint raises on purpose.

AquatintError
  UsageError                arguments that contradict each other or lie outside their range
    RateError               a rate that a codec cannot give a picture
  ImageError                a picture that cannot be read or is of a kind that is not supported
  FileFormatError           bytes that are not a valid .aqt file
    BadMagicError           not an .aqt file at all
    UnsupportedVersionError made by a newer version
    UnsupportedFeatureError a critical part that this version does not know
    TruncatedError          the file ends too early
    ChecksumError           the bytes were damaged
    CorruptStreamError      a field or a symbol outside what the format allows
  LimitError                more pixels, bytes or memory than the caller allowed
  ModelError                a trained model that a file needs
    MissingModelError       not found
    ModelMismatchError      found, but its hash is another one
  TrainingError             a training that cannot go on
  DependencyError           an optional package that is not installed
"""


class AquatintError(Exception):
    """Base class of every error that Aquatint raises on purpose; its message names the value and the limit."""


class UsageError(AquatintError, ValueError):
    """Arguments contradict each other or lie outside their range."""


class RateError(UsageError):
    """A codec cannot give a picture the rate that was asked for.

    Attributes:
        nearest: the rate that comes nearest, in bits per pixel.
    """

    def __init__(self, message: str, nearest: float) -> None:
        super().__init__(message, nearest)
        self.nearest = nearest

    def __str__(self) -> str:
        return self.args[0]


class ImageError(AquatintError):
    """A picture cannot be read or is of a kind that is not supported."""


class FileFormatError(AquatintError):
    """Bytes are not a valid .aqt file."""


class BadMagicError(FileFormatError):
    """The bytes do not begin with the magic number of .aqt files."""


class UnsupportedVersionError(FileFormatError):
    """The file was made for a newer version of the format."""


class UnsupportedFeatureError(FileFormatError):
    """The file has a critical part that this version does not know."""


class TruncatedError(FileFormatError):
    """The file ends before its content does."""


class ChecksumError(FileFormatError):
    """The bytes were damaged: the checksum does not match."""


class CorruptStreamError(FileFormatError):
    """A field or a symbol lies outside what the format allows."""


class LimitError(AquatintError):
    """The picture needs more pixels, bytes or memory than the caller allowed."""


class ModelError(AquatintError):
    """A trained model that a file needs cannot be used."""


class MissingModelError(ModelError):
    """The trained model that a file needs was not found."""


class ModelMismatchError(ModelError):
    """The model at hand is not the one that the file was made with."""


class TrainingError(AquatintError):
    """A training cannot go on: a loss or a gradient is not a number."""


class DependencyError(AquatintError, ImportError):
    """An optional package is not installed; the message says which command installs it."""
