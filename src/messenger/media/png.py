"""PNG: the chunks that make up the image, without metadata, and a check that all rows are present."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _TRUE_COLOUR = 0, 2
_CHANNELS = {_GREY: 1, _TRUE_COLOUR: 3, 3: 1, 4: 2, 6: 4}
_STEP = 1024 * 1024
_MAX_PROFILE = 4 * 1024 * 1024
_HEADER = ">IIBBxxB"

# The seven passes of an interlaced image: first column and row, then steps (PNG, third edition, section 8.1).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Png(NamedTuple):
    """A PNG without its metadata. `key`: the transparent samples of a greyscale or RGB image."""

    size: tuple[int, int]
    depth: int
    file: bytes
    key: tuple[int, ...] | None
    profile: bytes | None
    is_whole: bool


def read(file: bytes, max_pixels: int) -> Png | None:
    """Parse a file; None if its header specifies too many pixels. Broken chunks raise various errors."""
    found = _collect(file)
    header, data = found[b"IHDR"], found[b"IDAT"]
    width, height, depth, colour, _ = struct.unpack(_HEADER, header)
    if width * height > max_pixels:
        return None
    key = _key(found.get(b"tRNS"), depth, colour)
    kept = [(b"IHDR", header)]
    kept += [(kind, found[kind]) for kind in (b"PLTE", b"tRNS", b"eXIf") if kind in found]
    if colour in (_GREY, _TRUE_COLOUR):
        kept = [(kind, body) for kind, body in kept if kind != b"tRNS"]
    clean = b"".join([_SIGNATURE, *(_chunk(*each) for each in (*kept, (b"IDAT", data), (b"IEND", b"")))])
    return Png((width, height), depth, clean, key, _profile(found.get(b"iCCP")), _has_all_rows(header, data))


def _collect(file: bytes) -> dict[bytes, bytes]:
    """The relevant chunks by kind, with the pixel data joined. A truncated last chunk is included."""
    found: dict[bytes, bytes] = {}
    data = bytearray()
    for kind, body, is_right in _chunks(file):
        if kind == b"IDAT":
            _ensure(is_right)
            data += body
        elif kind in (b"IHDR", b"PLTE"):
            _ensure(is_right)
            found.setdefault(kind, bytes(body))
        elif is_right and kind in (b"tRNS", b"iCCP", b"eXIf"):
            found.setdefault(kind, bytes(body))
    found[b"IDAT"] = bytes(data)
    return found


def _ensure(is_right: bool) -> None:
    if not is_right:
        raise ValueError("a checksum is wrong")


def _chunks(file: bytes) -> Iterator[tuple[bytes, memoryview, bool]]:
    """The kind and data of each chunk, and whether its checksum is valid; a truncated checksum counts as valid."""
    view, at = memoryview(file), len(_SIGNATURE)
    while at + 8 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 8 + length
        if kind == b"IEND":
            return
        body, checksum = view[at + 8 : end], view[end : end + 4]
        is_cut = len(checksum) < 4
        yield kind, body, is_cut or zlib.crc32(body, zlib.crc32(kind)) == int.from_bytes(checksum, "big")
        at = end + 4


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _key(body: bytes | None, depth: int, colour: int) -> tuple[int, ...] | None:
    if body is None or colour not in (_GREY, _TRUE_COLOUR):
        return None
    # As in libpng: a key beyond the sample range matches nothing.
    mask = 0xFF if depth == 8 else 0xFFFF
    return tuple(sample & mask for sample in struct.unpack_from(f">{_CHANNELS[colour]}H", body))


def _profile(body: bytes | None) -> bytes | None:
    """The colour profile; None if it is broken, or larger than any in use."""
    packed = (body or b"").partition(b"\0")[2][1:]
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(packed, _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if inflater.eof else None


def _has_all_rows(header: bytes, data: bytes) -> bool:
    """Whether the pixel data fills all rows of the header; Pillow leaves missing rows black."""
    wanted = _raw_size(*struct.unpack(_HEADER, header))
    return 0 < wanted <= _inflated_size(zlib.decompressobj(), data, wanted)


def _inflated_size(inflater: zlib._Decompress, packed: bytes, limit: int) -> int:
    """The decompressed size, counted up to about `limit` without storing the data."""
    size = 0
    while packed and size < limit:
        size += len(inflater.decompress(packed, _STEP))
        packed = inflater.unconsumed_tail
    return size


def _raw_size(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    """The size of all rows in bytes, each with its filter byte."""
    bits = depth * _CHANNELS[colour]
    size = 0
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + (columns * bits + 7) // 8)
    return size
