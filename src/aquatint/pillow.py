"""Pillow plugin: after `import aquatint.pillow`, `Image.open("x.aqt")` and `image.save("x.aqt", quality=40)` work.

`Image.open` reads size, mode and metadata; the picture is decoded when its pixels are first needed, after Pillow's
guard against decompression bombs. Grayscale opens as L, or I;16 if it has 16 bits, or LA if it has alpha; colour opens
as RGB or RGBA. Pillow has no mode for 16-bit colour: use `aquatint.decode` to have more than the 8 bits of RGB.

`save` knows the keywords quality, bpp, size, lagrangian (at most one of these), tune, effort, threads, exif,
icc_profile and xmp. As with Pillow's own formats, EXIF and XMP are written only if they are given, and the colour
profile is that of the picture unless another is given. Pixels are converted to sRGB where the profile allows it, and
turned as the EXIF or XMP that is given says.
"""

from __future__ import annotations

import io
from typing import IO

from PIL import Image as PILImage
from PIL import ImageFile

from aquatint import api, container
from aquatint.codecs.options import Options
from aquatint.codecs.target import Target
from aquatint.container import Chunk, Header
from aquatint.errors import AquatintError, FileFormatError, UsageError
from aquatint.image import from_pil
from aquatint.metadata import exif_block

FORMAT = "AQT"
_VERSION_OFFSET = len(container.MAGIC)


class AquatintImageFile(ImageFile.ImageFile):
    """An .aqt file that Pillow has opened."""

    format = FORMAT
    format_description = "Aquatint image"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            self._data = container.read_bytes(self.fp)
            header = container.probe(self._data)
        except AquatintError as error:
            raise SyntaxError(str(error)) from error  # which Pillow takes as: not one of ours
        self._size = (header.width, header.height)
        self._mode = _mode(header)
        self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 0, self._mode)]
        try:
            _, chunks = container.read(self._data)
        except FileFormatError:
            return  # told by load()
        for key, chunk in (("icc_profile", Chunk.ICC), ("exif", Chunk.EXIF), ("xmp", Chunk.XMP)):
            if content := chunks.get(chunk):
                self.info[key] = exif_block(content) if chunk == Chunk.EXIF else content

    def load(self) -> PILImage.core.PixelAccess | None:
        """Decodes the picture.

        Raises:
            OSError: the file is damaged or ends early. Nothing of such a file can be shown, so
                `ImageFile.LOAD_TRUNCATED_IMAGES` changes nothing.
        """
        if self.tile:
            try:
                picture = api.decode(
                    self._data, max_pixels=self.width * self.height
                )  # Pillow's guard has agreed to them
            except AquatintError as error:
                raise OSError(f"cannot decode {self.filename or 'the image file'}: {error}") from error
            if self.fp and self._exclusive_fp:
                self.fp.close()
            self.fp = io.BytesIO(picture.to_pil().tobytes())
            self._data = b""
        return super().load()

    def load_seek(self, pos: int) -> None:
        """Does nothing: the pixels begin where the decoded stream does."""

    def verify(self) -> None:
        """Checks structure and checksum of the file without decoding it.

        Raises:
            OSError: the file is damaged or ends early.
        """
        try:
            container.read(self._data)
        except FileFormatError as error:
            raise OSError(str(error)) from error
        super().verify()


def _accept(prefix: bytes) -> bool | str:
    if not prefix.startswith(container.MAGIC):
        return False
    version = prefix[_VERSION_OFFSET : _VERSION_OFFSET + 1]
    if version and version[0] != container.VERSION:
        return f"version {version[0]} of the .aqt format is not supported, only {container.VERSION}"
    return True


def _mode(header: Header) -> str:
    """The mode that `Image.to_pil` gives a picture with this header."""
    if header.grayscale and header.depth == 16 and not header.alpha:
        return "I;16"
    return ("L" if header.grayscale else "RGB") + ("A" if header.alpha else "")


def _save(image: PILImage.Image, file: IO[bytes], filename: str | bytes) -> None:
    options = image.encoderinfo
    exif = options.get("exif")
    described = image.copy()
    described.info = {
        "transparency": image.info.get("transparency"),
        "exif": exif.tobytes() if isinstance(exif, PILImage.Exif) else exif,
        "icc_profile": options.get("icc_profile", image.info.get("icc_profile")),
        "xmp": options.get("xmp"),
    }
    described.info = {key: value for key, value in described.info.items() if value is not None}
    try:
        target = Target.of(*(options.get(name) for name in ("quality", "bpp", "size", "lagrangian")))
        chosen = Options(**{name: options[name] for name in ("tune", "effort", "threads") if name in options})
        data = api.compress(from_pil(described), target, chosen).data
    except UsageError:
        raise  # a ValueError, as Pillow's users expect
    except AquatintError as error:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}: {error}") from error
    file.write(data)  # only now: a failed encode writes nothing


PILImage.register_open(FORMAT, AquatintImageFile, _accept)
PILImage.register_save(FORMAT, _save)
PILImage.register_extension(FORMAT, ".aqt")
PILImage.register_mime(FORMAT, container.MEDIA_TYPE)
