"""Whether a PNG holds all the rows that its header promises; Pillow leaves missing ones black without a word."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_STEP = 1024 * 1024

# The seven passes of an interlaced image: first column and row, then steps (PNG, third edition, section 8.1).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def is_whole(file: bytes) -> bool:
    """Whether the pixel data is complete and its checksums are right; zlib.error, KeyError, struct.error if broken."""
    wanted, found = 0, 0
    inflater = zlib.decompressobj()
    for kind, body, checksum in _chunks(file):
        if kind == b"IHDR":
            wanted = _raw_size(*struct.unpack(">IIBBxxB", body))
        if kind != b"IDAT":
            continue
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            return False
        found += _inflated_size(inflater, body, wanted - found)
    return 0 < wanted <= found


def _chunks(file: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Each whole chunk's kind, data and stated checksum."""
    view, at = memoryview(file), _SIGNATURE
    while at + 12 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 8 + length
        if kind == b"IEND" or end + 4 > len(view):
            return
        yield kind, view[at + 8 : end], int.from_bytes(view[end : end + 4], "big")
        at = end + 4


def _inflated_size(inflater: zlib._Decompress, packed: bytes | memoryview, limit: int) -> int:
    """How many bytes come out, counted to `limit` or a little beyond and never kept."""
    size = 0
    while packed and size < limit:
        size += len(inflater.decompress(packed, _STEP))
        packed = inflater.unconsumed_tail
    return size


def _raw_size(width: int, height: int, depth: int, colour: int, interlaced: int) -> int:
    """Bytes of the rows, each with the byte that names its filter."""
    bits = depth * _CHANNELS[colour]
    size = 0
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            size += rows * (1 + (columns * bits + 7) // 8)
    return size
