"""WebP: the first frame as a separate file, and its position on the canvas."""

from __future__ import annotations

import struct
from typing import NamedTuple

_KINDS = frozenset({b"VP8X", b"ICCP", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF"})
_ICC, _ALPHA, _EXIF = 0x20, 0x10, 0x08
_LOSSLESS_HEADER = 5
_ALPHA_IS_USED = 1 << 28


class WebP(NamedTuple):
    """`file` has one frame, its colour profile and its EXIF. `canvas`: None if it has the size of the frame."""

    canvas: tuple[int, int] | None
    at: tuple[int, int]
    file: bytes


def read(file: bytes) -> WebP:
    """The first frame. Raises ValueError or struct.error for a file without one."""
    top = _first_chunks(memoryview(file)[12 : 8 + int.from_bytes(file[4:8], "little")])
    canvas, at = _canvas(top), (0, 0)
    image, size = top, canvas
    if b"ANMF" in top:
        frame = top[b"ANMF"]
        at = _u24(frame, 0) * 2, _u24(frame, 3) * 2
        size = _u24(frame, 6) + 1, _u24(frame, 9) + 1
        image = _first_chunks(frame[16:])
    return WebP(canvas, at, _alone(image, top, size))


def _canvas(chunks: dict[bytes, memoryview]) -> tuple[int, int] | None:
    extended = chunks.get(b"VP8X")
    return None if extended is None else (_u24(extended, 4) + 1, _u24(extended, 7) + 1)


def _alone(image: dict[bytes, memoryview], top: dict[bytes, memoryview], size: tuple[int, int] | None) -> bytes:
    kinds = [kind for kind in (b"VP8 ", b"VP8L") if kind in image]
    if not kinds:
        raise ValueError("no frame")
    parts: list[tuple[bytes, memoryview]] = [(kinds[0], image[kinds[0]])]
    if size is not None:
        flags = _ALPHA if b"ALPH" in image or _has_alpha(image) else 0
        if b"ALPH" in image:
            parts.insert(0, (b"ALPH", image[b"ALPH"]))
        if b"ICCP" in top:
            parts.insert(0, (b"ICCP", top[b"ICCP"]))
            flags |= _ICC
        if b"EXIF" in top:
            parts.append((b"EXIF", top[b"EXIF"]))
            flags |= _EXIF
        sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
        parts.insert(0, (b"VP8X", memoryview(struct.pack("<I", flags) + sides)))
    body = b"WEBP" + b"".join(_chunk(kind, data) for kind, data in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _has_alpha(image: dict[bytes, memoryview]) -> bool:
    data = image.get(b"VP8L", b"")
    return len(data) >= _LOSSLESS_HEADER and bool(int.from_bytes(data[1:5], "little") & _ALPHA_IS_USED)


def _first_chunks(view: memoryview) -> dict[bytes, memoryview]:
    """The first chunk of each relevant kind; the last chunk may be truncated."""
    found: dict[bytes, memoryview] = {}
    at = 0
    while at + 8 <= len(view):
        kind, size = struct.unpack_from("<4sI", view, at)
        if kind in _KINDS:
            found.setdefault(kind, view[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def _chunk(kind: bytes, data: memoryview) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _u24(view: memoryview, at: int) -> int:
    return int.from_bytes(view[at : at + 3], "little")
