"""Metadata never decides whether an image is accepted: it is removed before decoding."""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from messenger.errors import UnsupportedImage
from messenger.media.processor import ImageProcessor
from tests.media import files
from tests.support import images

MIB = 1024 * 1024
PLAIN = images.encoded(images.plain())
LONG = bytes(random.Random(5).choices(b"abcdefghij", k=2 * MIB))
BOMB = zlib.compress(bytes(300 * MIB), 9)
SWAPPED = images.swapped_profile()


def profile_chunk(profile: bytes) -> bytes:
    """The PNG with this compressed colour profile."""
    return files.with_chunk(PLAIN, b"iCCP", b"profile\0\0" + profile)


def jpeg_with(*segments: bytes) -> bytes:
    """A red JPEG with these segments after its start."""
    file = images.encoded(images.plain(), "JPEG")
    return file[:2] + b"".join(segments) + file[2:]


def webp_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A red WebP with these chunks after its pixels."""
    still = images.encoded(images.plain(), "WEBP", lossless=True)
    sides = (63).to_bytes(3, "little") * 2
    return files.riff((b"VP8X", struct.pack("<I", 0x0C) + sides), (b"VP8L", still[20:]), *chunks)


def peak_memory(pid: int) -> int:
    """The peak memory of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[ImageProcessor]:
    processor = ImageProcessor(timeout=60)
    yield processor
    await processor.close()


class TestUnusualMetadata:
    @pytest.mark.parametrize(
        "data",
        [
            files.with_chunk(PLAIN, b"zTXt", b"workflow\0\0" + zlib.compress(LONG)),
            files.with_chunk(PLAIN, b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
            files.with_chunk(PLAIN, b"tEXt", b"comment\0" + LONG),
            files.with_chunk(PLAIN, b"zTXt", b"workflow\0\0" + BOMB),
            files.with_chunk(PLAIN, b"iTXt", b"x\0\1\0\0\0" + BOMB),
            files.with_chunk(PLAIN, b"zTXt", b"broken\0\0not zlib"),
            files.with_chunk(PLAIN, b"eXIf", LONG),
            files.with_chunk(PLAIN, b"eXIf", b""),
            files.with_chunk(PLAIN, b"prVt", LONG)[:-16],
            PLAIN[:33] + b"\0\0\0\4tEXtx\0yz\0\0\0\0" + PLAIN[33:],
            profile_chunk(zlib.compress(LONG)),
            profile_chunk(BOMB),
            profile_chunk(b"not zlib"),
            profile_chunk(b""),
            jpeg_with(*[files.segment(0xFE, b"c" * 60_000)] * 40),
            jpeg_with(*[files.segment(0xE0 + number, b"Photoshop 3.0\0" + LONG[:50_000]) for number in range(16)]),
            jpeg_with(files.segment(0xE2, b"MPF\0" + LONG[:200])),
            jpeg_with(files.segment(0xE1, b"Exif\0\0" + LONG[:60_000])),
            jpeg_with(files.segment(0xE2, b"ICC_PROFILE\0\1\2" + LONG[:60_000])),
            jpeg_with(files.segment(0xEE, b"Adobe")),
            jpeg_with(files.segment(0xE0, b"JFIF\0")),
            webp_with((b"EXIF", LONG)),
            webp_with((b"XMP ", LONG), (b"unkn", LONG[:99])),
            webp_with((b"EXIF", b"")),
        ],
        ids=[
            *("zTXt", "iTXt", "tEXt", "zTXt bomb", "iTXt bomb", "zTXt broken", "eXIf", "eXIf empty", "private", "crc"),
            *("iCCP long", "iCCP bomb", "iCCP broken", "iCCP empty"),
            *("COM", "APPn", "MPF", "Exif", "ICC", "Adobe short", "JFIF short"),
            *("EXIF", "XMP", "EXIF empty"),
        ],
    )
    async def test_image_with_unusual_metadata_is_accepted(self, shared: ImageProcessor, data: bytes) -> None:
        picture = images.decoded((await shared.avatar(data)).image)
        assert images.is_near(picture, (32, 32), images.RED)

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    async def test_metadata_bombs_use_little_memory(self) -> None:
        processor = ImageProcessor(workers=1, timeout=60)
        for data in (files.with_chunk(PLAIN, b"zTXt", b"workflow\0\0" + BOMB), profile_chunk(BOMB)):
            await processor.avatar(data)
        (pid,) = processor.worker_pids
        peak = peak_memory(pid)
        await processor.close()
        assert peak < 150 * MIB


class TestManyParts:
    """Files with very many small parts take bounded time and memory."""

    @pytest.mark.parametrize(
        "data",
        [
            jpeg_with(*[files.segment(0xFE, b"")] * 500_000),
            jpeg_with(*[files.segment(0xDD, b"\0\0")] * 500_000),
            PLAIN[:33] + files.chunk(b"prVt", b"") * 300_000 + PLAIN[33:],
            PLAIN[:33] + files.chunk(b"IDAT", b"") * 300_000 + PLAIN[33:],
            webp_with(*[(b"unkn", b"")] * 500_000),
            images.encoded(images.plain(), "GIF").replace(b",", b"!\xfe" + b"\1x" * 1_000_000 + b"\0,", 1),
        ],
        ids=["COM", "DRI", "private", "IDAT", "unknown", "comment"],
    )
    async def test_image_of_many_parts_is_accepted(self, data: bytes) -> None:
        processor = ImageProcessor(workers=1, memory_limit=256 * MIB)
        avatar = await processor.avatar(data)
        await processor.close()
        assert avatar.width == 64

    @pytest.mark.parametrize("fill", [b"\xff" * 8_000_000 + b"\0", b"\xff\xd0" * 100_000])
    async def test_fill_bytes_in_scan_are_skipped_quickly(self, fill: bytes) -> None:
        file = images.encoded(images.noise((64, 64)), "JPEG")
        middle = file.index(b"\xff\xda") + 40
        processor = ImageProcessor(workers=1)
        with pytest.raises(UnsupportedImage):
            await processor.avatar(file[:middle] + fill)
        await processor.close()

    async def test_jpeg_with_too_many_scans_is_refused(self) -> None:
        file = images.encoded(images.noise((64, 64)), "JPEG", progressive=True)
        last = file.rindex(b"\xff\xda")
        processor = ImageProcessor(workers=1)
        with pytest.raises(UnsupportedImage):
            await processor.avatar(file[:last] + file[last:-2] * 100_000 + file[-2:])
        await processor.close()


class TestAppliedMetadata:
    @pytest.mark.parametrize("padding", [0, 2 * MIB])
    async def test_colour_profile_of_a_png_is_applied(self, shared: ImageProcessor, padding: int) -> None:
        # Profiles of printers have more than a mebibyte.
        profile = (len(SWAPPED) + padding).to_bytes(4, "big") + SWAPPED[4:] + bytes(padding)
        picture = images.decoded((await shared.avatar(profile_chunk(zlib.compress(profile)))).image)
        assert images.is_near(picture, (32, 32), images.BLUE, tolerance=40)

    async def test_truncated_colour_profile_is_ignored(self, shared: ImageProcessor) -> None:
        picture = images.decoded((await shared.avatar(profile_chunk(zlib.compress(SWAPPED)[:-4]))).image)
        assert images.is_near(picture, (32, 32), images.RED)

    @pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
    async def test_colour_profile_of_jpeg_and_webp_is_applied(self, shared: ImageProcessor, file_format: str) -> None:
        data = images.encoded(images.plain(), file_format, icc_profile=SWAPPED)
        picture = images.decoded((await shared.avatar(data)).image)
        assert images.is_near(picture, (32, 32), images.BLUE, tolerance=40)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    async def test_orientation_is_applied(self, shared: ImageProcessor, file_format: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        data = images.encoded(images.halves(), file_format, exif=exif)
        picture = images.decoded((await shared.avatar(data)).image)
        assert images.is_near(picture, (32, 4), images.RED, tolerance=60)
        assert images.is_near(picture, (32, 60), images.BLUE, tolerance=60)

    async def test_inverted_cmyk_stays_inverted(self, shared: ImageProcessor) -> None:
        # Only the Adobe segment says so.
        picture = images.decoded((await shared.avatar(images.cmyk_jpeg())).image)
        assert images.is_near(picture, (32, 32), (0, 255, 255), tolerance=40)
