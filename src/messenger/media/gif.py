"""GIF: the first frame as a separate file, and its position on the canvas."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Gif(NamedTuple):
    """`file` has one frame that fills its screen; empty if the frame has no pixels."""

    canvas: tuple[int, int]
    at: tuple[int, int]
    frame: tuple[int, int]
    file: bytes


def read(file: bytes) -> Gif:
    """The first frame. Raises ValueError, struct.error or IndexError for a file without one.

    The canvas is the logical screen, enlarged if the frame does not fit. The area outside the frame is transparent,
    whatever background colour the file specifies (as in Chromium and Firefox).
    """
    width, height, flags = struct.unpack_from("<HHB", file, 6)
    start = 13 + _table(flags)
    control, at = _first_descriptor(file, start)
    left, top, columns, rows, frame_flags = struct.unpack_from("<HHHHB", file, at + 1)
    canvas = max(width, left + columns), max(height, top + rows)
    data = at + 10 + _table(frame_flags)
    if not columns or not rows:
        return Gif(canvas, (left, top), (columns, rows), b"")
    screen = b"GIF89a" + struct.pack("<HH", columns, rows) + file[10:start]
    descriptor = struct.pack("<BHHHHB", 0x2C, 0, 0, columns, rows, frame_flags)
    alone = b"".join([screen, control, descriptor, file[at + 10 : data + 1], _blocks(file, data + 1), b"\0;"])
    return Gif(canvas, (left, top), (columns, rows), alone)


def _table(flags: int) -> int:
    """The size of the colour table that these flags specify, in bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _first_descriptor(file: bytes, at: int) -> tuple[bytes, int]:
    """The last graphic control extension before the first image descriptor, and the descriptor's position."""
    control = b""
    while file[at] != 0x2C:
        if file[at] == 0x3B:
            raise ValueError("no frame")
        if file[at] != 0x21:
            # Stray bytes between blocks are skipped, as in Pillow and browsers.
            at += 1
            continue
        start, is_control = at, file[at + 1] == 0xF9
        at += 2
        while file[at]:
            at += 1 + file[at]
        at += 1
        control = file[start:at] if is_control else control
    return control, at


def _blocks(file: bytes, start: int) -> bytes:
    """The data blocks of a frame without the terminator; the last one may be truncated."""
    at = start
    while at < len(file) and file[at]:
        end = at + 1 + file[at]
        if end > len(file):
            rest = file[at + 1 :]
            return file[start:at] + (bytes([len(rest)]) + rest if rest else b"")
        at = end
    return file[start:at]
