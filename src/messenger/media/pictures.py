"""Converts an uploaded file to two square WebP pictures; runs in worker processes only."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import NamedTuple

from PIL import Image, ImageCms
from PIL.Image import Resampling, Transpose
from thumbhash import rgba_to_thumb_hash  # type: ignore[import-untyped]

from messenger.media.frames import SIDE, THUMB_SIDE
from messenger.media.stills import decode

_HASH_SIDE = 32
_QUALITY = 82

# The operation that undoes each value of EXIF's orientation (Exif 2.32, section 4.6.4).
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class Rendered(NamedTuple):
    """The two sizes as WebP, the side of the larger one in pixels, and the ThumbHash."""

    image: bytes
    thumb: bytes
    side: int
    placeholder: bytes


def bound_pixels(max_pixels: int) -> None:
    """Make Pillow refuse more than `max_pixels`, since some decoders allocate memory when they open a file."""
    # Pillow raises above twice its limit.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def render(data: bytes, max_pixels: int) -> Rendered:
    """Decode, crop to the centre and shrink. Raises TooManyPixels, MemoryError, or any error of Pillow."""
    picture = _square(data, max_pixels)
    thumb = _shrunk(picture, THUMB_SIDE)
    return Rendered(_webp(picture), _webp(thumb), picture.width, _placeholder(thumb))


def _square(data: bytes, max_pixels: int) -> Image.Image:
    """The image upright, square, in sRGB, with sides of at most SIDE pixels."""
    still = decode(data, max_pixels, (SIDE, SIDE))
    picture = _srgb(_shrunk(_blendable(still.image), SIDE), still.profile)
    return picture.transpose(_UPRIGHT[still.orientation]) if still.orientation in _UPRIGHT else picture


def _blendable(image: Image.Image) -> Image.Image:
    """The image in a mode that can be resampled: L, RGB, CMYK, or RGBa (premultiplied)."""
    if image.mode.startswith("I"):
        # 16 bits per sample: converting to L would clip instead of scaling.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        return image.convert("RGBa")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _shrunk(image: Image.Image, limit: int) -> Image.Image:
    """The centre square, reduced to `limit` pixels if it is larger."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    size = min(side, limit)
    return image.resize((size, size), Resampling.LANCZOS, (left, top, left + side, top + side), reducing_gap=3.0)


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image as RGB, or RGBA if it has transparency, converted from its colour profile."""
    if image.mode != "RGBa":
        return _toned(image, profile)
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    picture = _toned(image.convert("RGB"), profile)
    if alpha.getextrema() != (255, 255):
        picture.putalpha(alpha)
    return picture


def _toned(image: Image.Image, icc: bytes | None) -> Image.Image:
    """An L, RGB or CMYK image as RGB; ignores a profile that is broken or for another mode."""
    if not icc:
        return image.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(profile.profile.xcolor_space.strip())
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if mode == image.mode:
            toned = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            return toned or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return image.convert("RGB")


def _webp(image: Image.Image) -> bytes:
    """Encode the pixels only: `info` is cleared, since Pillow writes some of it as metadata."""
    image.info = {}
    out = BytesIO()
    image.save(out, "WEBP", quality=_QUALITY, method=4)
    return out.getvalue()


def _placeholder(thumb: Image.Image) -> bytes:
    """The ThumbHash; transparent pixels get the mean colour of the others."""
    small = _shrunk(thumb, _HASH_SIDE)
    if small.mode == "RGBA":
        # ThumbHash supports transparency, but thumbhash 0.1.2 raises TypeError for any transparent pixel.
        mean = small.convert("RGBa").resize((1, 1), Resampling.BOX).convert("RGBA").convert("RGB").convert("RGBA")
        small = Image.alpha_composite(mean.resize(small.size), small)
    return bytes(rgba_to_thumb_hash(small.width, small.height, list(small.convert("RGBA").tobytes())))
