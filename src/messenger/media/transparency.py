"""The transparent colour of a greyscale or RGB PNG (`tRNS`), compared at the bit depth of the samples."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageChops

from messenger.media.png import Png

_DEEP = 16


def with_key(image: Image.Image, png: Png) -> Image.Image:
    """The image with an alpha channel that hides pixels of the transparent colour."""
    if png.key is None:
        return image
    if png.depth == _DEEP:
        planes = _deep_planes(image, png)
        key = [part for sample in png.key for part in (sample >> 8, sample & 255)]
    else:
        planes = list((image.convert("L") if image.mode == "1" else image).split())
        # Samples of less than eight bits are scaled to eight when decoded.
        key = [sample * 255 // ((1 << png.depth) - 1) for sample in png.key]
    is_key = Image.new("L", image.size, 255)
    for plane, value in zip(planes, key, strict=True):
        is_key = ImageChops.darker(is_key, plane.point([255 if sample == value else 0 for sample in range(256)]))
    image = _shallow(image)
    image.putalpha(ImageChops.invert(is_key))
    return image


def _shallow(image: Image.Image) -> Image.Image:
    """Eight bits per sample."""
    if image.mode.startswith("I"):
        # Converting to L would clip instead of scaling.
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("L")


def _deep_planes(image: Image.Image, png: Png) -> list[Image.Image]:
    """The high and the low bytes of each channel."""
    if image.mode.startswith("I"):
        raw = image.tobytes()
        low, high = (Image.frombytes("L", image.size, raw[offset::2]) for offset in (0, 1))
        return [high, low]
    # Pillow keeps the high bytes of 16-bit RGB; decoded as little-endian, the file yields the low bytes.
    swapped = Image.open(BytesIO(png.file), formats=("PNG",))
    swapped.tile = [tile._replace(args="RGB;16L") for tile in swapped.tile]
    swapped.load()
    return [plane for pair in zip(image.split(), swapped.split(), strict=True) for plane in pair]
