"""Decode the first image of an uploaded file as browsers show it; all of its pixels must be present."""

from __future__ import annotations

from io import BytesIO
from typing import Literal, NamedTuple, get_args

from PIL import Image
from PIL import WebPImagePlugin as WebPImagePlugin  # Pillow registers this format on import only.

from messenger.media import gif, jpeg, png, webp
from messenger.media.transparency import with_key

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
Format = Literal["JPEG", "PNG", "WEBP", "GIF"]
FORMATS = get_args(Format)
_ORIENTATION_TAG = 0x0112


class TooManyPixels(Exception):
    """The header specifies too many pixels."""


class NotWhole(Exception):
    """Part of the image is missing or damaged."""


class Still(NamedTuple):
    """An image, its colour profile, and its EXIF orientation."""

    image: Image.Image
    profile: bytes | None
    orientation: int


def decode(data: bytes, max_pixels: int, scale: tuple[int, int]) -> Still:
    """Decode the image. A JPEG may be scaled down, but not below `scale`; a small frame is placed on its canvas.

    Raises TooManyPixels, NotWhole, MemoryError, or whatever Pillow raises for a bad file.
    """
    if data.startswith(_PNG):
        return _png(data, max_pixels)
    if data.startswith(_JPEG):
        return _jpeg(data, max_pixels, scale)
    if data.startswith(_GIF):
        return _gif(data, max_pixels)
    return _webp(data, max_pixels)


def _png(data: bytes, max_pixels: int) -> Still:
    file = png.read(data, max_pixels)
    if file is None:
        raise TooManyPixels
    if not file.is_whole:
        raise NotWhole
    image = _opened(file.file, "PNG", max_pixels)
    image.load()
    orientation = _orientation(image)
    return Still(with_key(image, file), file.profile, orientation)


def _jpeg(data: bytes, max_pixels: int, scale: tuple[int, int]) -> Still:
    file = jpeg.read(data)
    image = _opened(file.file, "JPEG", max_pixels)
    # Decoding at a half, a quarter or an eighth is much cheaper.
    image.draft(None, scale)
    image.load()
    if not jpeg.is_whole(file, image, scale):
        raise NotWhole
    return Still(image, image.info.get("icc_profile"), _orientation(image))


def _gif(data: bytes, max_pixels: int) -> Still:
    frame = gif.read(data)
    _bound(frame.canvas, max_pixels)
    if not frame.file:
        side = min(frame.canvas)
        return Still(Image.new("RGBA", (side, side)), None, 1)
    image = _opened(frame.file, "GIF", max_pixels)
    image.load()
    return Still(_on_canvas(image, frame.canvas, frame.at), None, 1)


def _webp(data: bytes, max_pixels: int) -> Still:
    frame = webp.read(data)
    if frame.canvas is not None:
        _bound(frame.canvas, max_pixels)
    image = _opened(frame.file, "WEBP", max_pixels)
    canvas = frame.canvas or image.size
    if any(at + side > limit for at, side, limit in zip(frame.at, image.size, canvas, strict=True)):
        raise NotWhole
    image.load()
    return Still(_on_canvas(image, canvas, frame.at), image.info.get("icc_profile"), _orientation(image))


def _opened(file: bytes, file_format: Format, max_pixels: int) -> Image.Image:
    image = Image.open(BytesIO(file), formats=(file_format,))
    _bound(image.size, max_pixels)
    return image


def _bound(size: tuple[int, int], max_pixels: int) -> None:
    if 0 in size:
        raise NotWhole
    if size[0] * size[1] > max_pixels:
        raise TooManyPixels


def _on_canvas(image: Image.Image, canvas: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    """The centre square of a transparent canvas with the frame on it, or the frame itself if it fills the canvas."""
    if image.size == canvas:
        return image
    side = min(canvas)
    # The position of the frame relative to the square.
    x, y = (place - (length - side) // 2 for place, length in zip(at, canvas, strict=True))
    box = (max(0, -x), max(0, -y), min(image.width, side - x), min(image.height, side - y))
    square = Image.new("RGBA", (side, side))
    if box[0] < box[2] and box[1] < box[3]:
        square.paste(image.crop(box).convert("RGBA"), (max(0, x), max(0, y)))
    return square


def _orientation(source: Image.Image) -> int:
    try:
        return int(source.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        # EXIF parsers fail in many ways, and the image is usable without EXIF.
        return 1
