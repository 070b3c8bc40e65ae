"""Image files that Pillow cannot write, built byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, TRUE_COLOUR, PALETTE = 0, 2, 3
_CHANNELS = {GREY: 1, TRUE_COLOUR: 3, PALETTE: 1}


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """The PNG with an additional chunk after its header."""
    return png[:33] + chunk(kind, data) + png[33:]


def striped_png(
    depth: int, colour: int, stripes: Iterable[tuple[int, ...]], *, before: bytes = b"", size: int = 16
) -> bytes:
    """Stripes of equal width, each of one pixel value; `before` precedes the pixel data."""
    pixels = [sample for stripe in stripes for _ in range(size) for sample in stripe]
    bits = "".join(f"{sample:0{depth}b}" for sample in pixels)
    row = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    width = len(pixels) // _CHANNELS[colour]
    header = struct.pack(">IIBBBBB", width, width, depth, colour, 0, 0, 0)
    data = zlib.compress((b"\0" + row) * width)
    return SIGNATURE + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def key(*samples: int) -> bytes:
    """A tRNS chunk of a grey or an RGB picture."""
    return chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples))


def red_gif(
    screen: tuple[int, int], frame: tuple[int, int], at: tuple[int, int] = (0, 0), *, key: int | None = None
) -> bytes:
    """A GIF whose first frame is red, on a screen with a green background; the second frame is all blue."""
    palette = bytes([0, 255, 0, 255, 0, 0, 0, 0, 255, 0, 0, 0])
    control = b"" if key is None else b"!\xf9\x04" + bytes([1, 0, 0, key, 0])
    file = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + palette + control
    return file + _gif_frame(frame, at, 1) + _gif_frame((screen[0], screen[1]), (0, 0), 2) + b";"


def _gif_frame(size: tuple[int, int], at: tuple[int, int], colour: int) -> bytes:
    # Codes of three bits; a clear code after every other pixel keeps them that short.
    codes = [code for index in range(size[0] * size[1]) for code in ((4, colour) if index % 2 == 0 else (colour,))]
    bits = "".join(f"{code:03b}" for code in reversed([*codes, 5]))
    data = int(bits, 2).to_bytes(-(-len(bits) // 8), "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return b"," + struct.pack("<HHHHB", *at, *size, 0) + b"\x02" + blocks + b"\0"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def red_webp(
    canvas: tuple[int, int], frame: tuple[int, int], at: tuple[int, int] = (0, 0), *, says_alpha: bool = False
) -> bytes:
    """An animated WebP whose first frame is red, on a canvas with a green background."""
    still = BytesIO()
    Image.new("RGB", frame, (255, 0, 0)).save(still, "WEBP", lossless=True)
    sizes = [at[0] // 2, at[1] // 2, frame[0] - 1, frame[1] - 1, 100]
    animated = b"".join(number.to_bytes(3, "little") for number in sizes) + b"\0" + still.getvalue()[12:]
    sides = b"".join((side - 1).to_bytes(3, "little") for side in canvas)
    extended = bytes([0x12 if says_alpha else 0x02, 0, 0, 0]) + sides
    background = bytes([0, 255, 0, 255, 0, 0])
    return riff((b"VP8X", extended), (b"ANIM", background), (b"ANMF", animated), (b"ANMF", animated))


def segment(marker: int, data: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data
