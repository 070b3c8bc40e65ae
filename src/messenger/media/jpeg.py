"""JPEG: the segments that make up the image, without metadata, and a check that all pixels are present.

libjpeg fills missing data with grey and only warns, and Pillow hides the warning. Decoding reveals whether a scan is
complete: bytes after a complete scan are skipped, bytes after a truncated scan are decoded and change the pixels.
"""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

from PIL import Image

_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
# Marker, name, and the minimum length that libjpeg accepts; Pillow fails on shorter ones.
_KEPT = ((0xE0, b"JFIF\0", 16), (0xE1, b"Exif\0", 8), (0xE2, b"ICC_PROFILE\0", 16), (0xEE, b"Adobe", 14))
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_COEFFICIENTS = 64
_MAX_SCANS = 500
_STRIP = 64

_draw = random.Random(19)  # noqa: S311 - any constant bytes will do.
_NOISE = bytes(_draw.choices(range(255), k=2048))
_SHORT_NOISE = _NOISE[:64]


class Jpeg(NamedTuple):
    """A JPEG without its metadata, in parts; `scans` lists the entropy-coded parts."""

    pieces: list[bytes | bytearray]
    scans: frozenset[int]
    frame: int
    has_all_scans: bool

    @property
    def file(self) -> bytes:
        return b"".join(self.pieces)

    def disturbed(self) -> bytes:
        """The image with noise after each scan and each part of one; if it is complete, its pixels do not change."""
        noisy = [_with_noise(piece) if index in self.scans else piece for index, piece in enumerate(self.pieces)]
        return b"".join(noisy)


def read(file: bytes) -> Jpeg:
    """Parse a file, adding a missing end marker. Raises ValueError or struct.error for broken segments."""
    pieces: list[bytes | bytearray] = [bytearray(b"\xff\xd8")]
    scans, frame = set[int](), 0
    coverage = _Coverage()
    for marker, segment, scan in _segments(file):
        if marker in _FRAMES:
            frame = marker
            coverage.begin(segment)
        if (0xE0 <= marker <= 0xEF and not _is_kept(marker, segment)) or marker == _COMMENT:
            continue
        pieces[-1] += bytes((0xFF, marker)) + segment
        if marker == _SCAN:
            coverage.add(segment)
            scans.add(len(pieces))
            pieces += [scan, bytearray()]
        if len(scans) > _MAX_SCANS:
            raise ValueError("more scans than any picture needs")
    pieces[-1] += b"\xff\xd9"
    return Jpeg(pieces, frozenset(scans), frame, coverage.is_full)


def is_whole(jpeg: Jpeg, picture: Image.Image, scale: tuple[int, int]) -> bool:
    """Whether all pixels are present. `picture`: the image as decoded at this scale."""
    if not jpeg.scans or not jpeg.has_all_scans:
        return False
    if jpeg.frame not in (*_SEQUENTIAL, _PROGRESSIVE):
        # Arithmetic coding may omit zeros at the end of a scan; no browser supports it.
        return True
    if jpeg.frame == _PROGRESSIVE:
        # The last scans only refine, which is visible at full size only.
        return _digest(_decoded(jpeg.file, None)) == _digest(_decoded(jpeg.disturbed(), None))
    return _digest(picture) == _digest(_decoded(jpeg.disturbed(), scale))


def _decoded(file: bytes, scale: tuple[int, int] | None) -> Image.Image:
    image = Image.open(BytesIO(file), formats=("JPEG",))
    if scale is not None:
        image.draft(None, scale)
    image.load()
    return image


def _digest(image: Image.Image) -> int:
    """A checksum of all pixels, computed strip by strip."""
    digest = 0
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(image.height, top + _STRIP)))
        digest = zlib.crc32(strip.tobytes(), digest)
    return digest


def _with_noise(scan: bytes | bytearray) -> bytes:
    """Noise before each restart marker and at the end, also as an additional part in case one is missing."""
    noisy, restarts = _RESTART.subn(lambda marker: _SHORT_NOISE + marker.group(), scan)
    return noisy + _NOISE + bytes((0xFF, 0xD0 + restarts % 8)) + _NOISE


class _Coverage:
    """Tracks which coefficients of which components are complete."""

    def __init__(self) -> None:
        self._missing: dict[int, list[int]] = {}

    def begin(self, segment: bytes) -> None:
        """A frame header: no coefficients yet."""
        count = segment[7]
        self._missing = {segment[8 + 3 * index]: [1] * _COEFFICIENTS for index in range(count)}

    def add(self, segment: bytes) -> None:
        """A scan header."""
        count = segment[2]
        first, last, approximation = segment[3 + 2 * count : 6 + 2 * count]
        for index in range(count):
            missing = self._missing[segment[3 + 2 * index]]
            for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1):
                missing[coefficient] = approximation & 15

    @property
    def is_full(self) -> bool:
        return not any(any(missing) for missing in self._missing.values())


def _segments(file: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Each marker with its segment and the entropy-coded data after it. Bytes between segments are skipped."""
    at = 2
    while (match := _MARKER.search(file, at)) is not None:
        marker, at = match.group(1)[0], match.end()
        if marker == _END:
            return
        if marker == _START or marker in _BARE:
            continue
        (length,) = struct.unpack_from(">H", file, at)
        segment = file[at : at + length]
        if length < 2 or len(segment) < length:
            raise ValueError("a segment is truncated")
        at += length
        scan = b""
        if marker == _SCAN:
            following = _MARKER.search(file, at)
            end = following.start() if following is not None else len(file)
            # Any number of FF bytes may precede a marker.
            scan, at = file[at:end].rstrip(b"\xff"), end
        yield marker, segment, scan


def _is_kept(marker: int, segment: bytes) -> bool:
    return any(marker == kept and segment[2:].startswith(name) and len(segment) >= least for kept, name, least in _KEPT)
