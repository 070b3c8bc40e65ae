"""Uploaded files, valid and invalid."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
_GPS_IFD = 0x8825
_ORIENTATION = 0x0112
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    out = BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


def plain(colour: tuple[int, ...] = RED, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    """A single colour."""
    return Image.new(mode, size, colour)


def halves(left: tuple[int, ...] = RED, right: tuple[int, ...] = BLUE) -> Image.Image:
    """A square with two colours side by side."""
    image = plain(left)
    image.paste(right, (32, 0, 64, 64))
    return image


def noise(size: tuple[int, int] = (256, 256)) -> Image.Image:
    """An image that compresses badly, so that half of the file is half of the image."""
    return Image.effect_noise(size, 80).convert("RGB")


def with_gps() -> bytes:
    """A JPEG whose EXIF contains a location."""
    exif = Image.Exif()
    exif[_GPS_IFD] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    return encoded(plain(), "JPEG", exif=exif)


def turned(orientation: int) -> bytes:
    """Red on the left and blue on the right, with an EXIF orientation."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return encoded(halves(), "PNG", exif=exif)


def swapped_profile() -> bytes:
    """The sRGB profile with its red and blue primaries exchanged: with it, a red pixel means blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    head, tags = profile[:132], profile[132:]
    count = int.from_bytes(profile[128:132], "big")
    table = tags[: count * 12].replace(b"rXYZ", b"-").replace(b"bXYZ", b"rXYZ").replace(b"-", b"bXYZ")
    return head + table + tags[count * 12 :]


def animation(file_format: str, frames: int) -> bytes:
    """A red frame, then others in shades of blue."""
    rest = [plain((0, number % 200, 255), (16, 16)) for number in range(frames - 1)]
    return encoded(plain(RED, (16, 16)), file_format, save_all=True, append_images=rest, duration=10)


def cmyk_jpeg() -> bytes:
    """A JPEG for printers, in pure cyan."""
    return encoded(plain((255, 0, 0, 0), mode="CMYK"), "JPEG")


def deep_png() -> bytes:
    """Sixteen bits a pixel, all of them at about the middle."""
    return encoded(Image.new("I;16", (32, 32), 0x8080))


def palette_png() -> bytes:
    """A palette image, red with a transparent left half."""
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 32, 64))
    return encoded(image, transparency=0)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb_png(side: int) -> bytes:
    """A complete, valid black PNG of one bit a pixel: a few kilobytes for `side` times `side` pixels."""
    return _bits_png((side, side), (side, side))


def damaged_png() -> bytes:
    """A PNG with one inverted bit in its pixels."""
    file = bytearray(encoded(noise()))
    file[len(file) // 2] ^= 1
    return bytes(file)


def interlaced_png() -> bytes:
    """An Adam7 interlaced PNG of 11 times 7 red pixels, which Pillow cannot write."""
    red, header = bytes(RED), struct.pack(">IIBBBBB", 11, 7, 8, 2, 0, 0, 1)
    # Columns and rows of each pass, from the pattern in PNG's section 8.1.
    passes = ((2, 1), (1, 1), (3, 1), (3, 2), (6, 2), (5, 4), (11, 3))
    pixels = zlib.compress(b"".join((b"\0" + red * columns) * rows for columns, rows in passes))
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def lying_png() -> bytes:
    """A PNG whose header announces ten times the rows that it contains."""
    return _bits_png((100, 100), (100, 10))


def _bits_png(said: tuple[int, int], real: tuple[int, int]) -> bytes:
    packer = zlib.compressobj(1)
    row = bytes(1 + (real[0] + 7) // 8)
    pixels = b"".join([*(packer.compress(row) for _ in range(real[1])), packer.flush()])
    header = struct.pack(">IIBBBBB", *said, 1, 0, 0, 0, 0)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def wide_gif() -> bytes:
    """A GIF that claims a canvas of 65,535 times 65,535 pixels."""
    file = bytearray(encoded(plain(), "GIF"))
    file[6:10] = b"\xff\xff\xff\xff"
    return bytes(file)


def wide_webp() -> bytes:
    """A WebP that claims a canvas of 2 to the power of 28 pixels."""
    vp8x = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16383).to_bytes(3, "little") * 2
    body = b"WEBP" + vp8x + encoded(plain(), "WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def decoded(file: bytes) -> Image.Image:
    """What a client sees, as RGBA."""
    return Image.open(BytesIO(file)).convert("RGBA")


def is_near(image: Image.Image, at: tuple[int, int], colour: tuple[int, ...], tolerance: int = 24) -> bool:
    """Whether the pixel has approximately this colour."""
    pixel = image.getpixel(at)
    assert isinstance(pixel, tuple)
    return all(abs(have - want) <= tolerance for have, want in zip(pixel, colour, strict=False))
