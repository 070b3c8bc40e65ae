"""An image is accepted exactly if all of its pixels are present, even if the end of the file is missing."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageChops

from messenger.media.stills import NotWhole, decode
from tests.support import images

MAX_PIXELS = 25_000_000
END_OF_JPEG = b"\xff\xd9"
JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
    "fine": {"quality": 98, "subsampling": 0},
    "fine progressive": {"quality": 98, "subsampling": 0, "progressive": True},
}


def photo(size: tuple[int, int] = (640, 480), mode: str = "RGB") -> Image.Image:
    """Gradients and noise in all channels."""
    gradient, noise = Image.radial_gradient("L").resize(size), Image.effect_noise(size, 30)
    return Image.merge("RGB", (ImageChops.add(gradient, noise, 2), noise, gradient)).convert(mode)


def is_accepted(data: bytes) -> bool:
    """Whether it decodes with all its pixels."""
    try:
        decode(data, MAX_PIXELS, (512, 512))
    except (NotWhole, OSError):
        return False
    return True


def entropy_coded(file: bytes) -> int:
    """Where the data of the first scan begins."""
    header = file.index(b"\xff\xda")
    return header + 2 + int.from_bytes(file[header + 2 : header + 4], "big")


class TestJpeg:
    @pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    @pytest.mark.parametrize("size", [(640, 480), (333, 217), (8, 8), (17, 9)])
    def test_complete_jpeg_is_accepted(self, options: dict[str, Any], mode: str, size: tuple[int, int]) -> None:
        file = images.encoded(photo(size, mode), "JPEG", **options)
        assert is_accepted(file)
        assert is_accepted(file[:-1])
        assert is_accepted(file[:-2])
        assert is_accepted(file + b"what a camera appends")

    @pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    @pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.75, 0.9, 0.98])
    def test_partial_jpeg_is_refused(self, options: dict[str, Any], mode: str, share: float) -> None:
        file = images.encoded(photo(mode=mode), "JPEG", **options)
        begin = entropy_coded(file)
        part = file[: begin + int((len(file) - 2 - begin) * share)]
        assert not is_accepted(part)
        assert not is_accepted(part.rstrip(b"\xff") + END_OF_JPEG)

    @pytest.mark.parametrize("options", [{}, {"quality": 98, "subsampling": 0}], ids=["coarse", "fine"])
    def test_partial_block_is_refused(self, options: dict[str, Any]) -> None:
        file = images.encoded(photo((8, 8)), "JPEG", **options)
        begin = entropy_coded(file)
        assert not is_accepted(file[: begin + (len(file) - 2 - begin) // 2] + END_OF_JPEG)

    def test_picture_cut_between_two_scans_is_refused(self) -> None:
        file = images.encoded(photo(), "JPEG", progressive=True)
        assert not is_accepted(file[: file.rindex(b"\xff\xda")] + END_OF_JPEG)

    def test_picture_cut_at_a_restart_marker_is_refused(self) -> None:
        file = images.encoded(photo(), "JPEG", restart_marker_rows=1)
        assert not is_accepted(file[: file.rindex(b"\xff\xd3")] + END_OF_JPEG)

    def test_picture_with_a_missing_part_is_refused(self) -> None:
        file = images.encoded(photo(), "JPEG", restart_marker_rows=1)
        marker = file.index(b"\xff\xd2", entropy_coded(file))
        assert not is_accepted(file[: marker - 300] + file[marker:])

    def test_grey_jpeg_is_accepted(self) -> None:
        # libjpeg's filling for missing pixels looks exactly like it.
        assert is_accepted(images.encoded(Image.new("RGB", (640, 480), (128, 128, 128)), "JPEG"))

    @pytest.mark.parametrize("progressive", [False, True])
    def test_half_of_large_jpeg_is_refused(self, progressive: bool) -> None:
        file = images.encoded(photo((3000, 2000)), "JPEG", progressive=progressive)
        assert is_accepted(file)
        assert not is_accepted(file[: len(file) // 2] + END_OF_JPEG)


class TestPng:
    @pytest.mark.parametrize("missing", [1, 4, 12, 14, 16, 20])
    def test_png_without_end_chunk_is_accepted(self, missing: int) -> None:
        # Of the end chunk, the last checksum, and the checksum of the pixels.
        assert is_accepted(images.encoded(photo())[:-missing])

    def test_half_of_png_with_end_chunk_is_refused(self) -> None:
        file = images.encoded(photo())
        half, end = file[: len(file) // 2], file[-12:]
        assert not is_accepted(half)
        assert not is_accepted(half + end)


class TestGif:
    @pytest.mark.parametrize("missing", [1, 2, 3])
    def test_gif_without_trailer_is_accepted(self, missing: int) -> None:
        # The trailer, the empty block, and the byte that contains the end code.
        assert is_accepted(images.encoded(photo().quantize(), "GIF")[:-missing])

    @pytest.mark.parametrize("end", [b"", b";", b"\0;"])
    def test_half_of_gif_is_refused(self, end: bytes) -> None:
        file = images.encoded(photo().quantize(), "GIF")
        assert not is_accepted(file[: len(file) // 2] + end)


class TestWebP:
    @pytest.mark.parametrize("lossless", [False, True])
    def test_webp_without_last_byte_is_accepted(self, lossless: bool) -> None:
        file = images.encoded(photo(), "WEBP", lossless=lossless)
        assert is_accepted(file)
        assert is_accepted(file[:-1])

    def test_webp_with_truncated_metadata_is_accepted(self) -> None:
        file = images.encoded(photo(), "WEBP", exif=Image.Exif().tobytes() + bytes(400))
        assert is_accepted(file[:-100])

    @pytest.mark.parametrize("lossless", [False, True])
    @pytest.mark.parametrize("says_so", [False, True])
    def test_half_of_webp_is_refused(self, lossless: bool, says_so: bool) -> None:
        file = bytearray(images.encoded(photo(), "WEBP", lossless=lossless))
        del file[len(file) // 2 & ~1 :]
        if says_so:
            file[4:8], file[16:20] = (len(file) - 8).to_bytes(4, "little"), (len(file) - 20).to_bytes(4, "little")
        assert not is_accepted(bytes(file))
