from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from PIL import Image

from messenger.errors import ImageTooLarge, UnsupportedImage
from messenger.media.processor import ImageProcessor
from tests.support import images


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[ImageProcessor]:
    """A shared processor, for tests of its results."""
    processor = ImageProcessor(timeout=60)
    yield processor
    await processor.close()


class TestPicture:
    async def test_large_image_becomes_512_pixels(self, shared: ImageProcessor) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(size=(900, 700))))
        assert images.decoded(avatar.image).size == (512, 512) == (avatar.width, avatar.height)

    async def test_thumb_has_128_pixels(self, shared: ImageProcessor) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(size=(900, 700))))
        assert images.decoded(avatar.thumb).size == (128, 128)

    async def test_small_image_is_not_enlarged(self, shared: ImageProcessor) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(size=(1, 1))))
        assert images.decoded(avatar.image).size == (1, 1) == images.decoded(avatar.thumb).size

    @pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000)])
    async def test_extreme_shape_is_cropped(self, shared: ImageProcessor, size: tuple[int, int]) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(size=size)))
        assert (avatar.width, avatar.height) == (1, 1)

    async def test_crop_is_centred(self, shared: ImageProcessor) -> None:
        source = images.plain(images.BLUE, (192, 64))
        source.paste(images.RED, (64, 0, 128, 64))
        picture = images.decoded((await shared.avatar(images.encoded(source))).image)
        assert images.is_near(picture, (8, 32), images.RED)
        assert images.is_near(picture, (56, 32), images.RED)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
    async def test_each_format_is_converted_to_webp(self, shared: ImageProcessor, file_format: str) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(), file_format))
        assert Image.open(BytesIO(avatar.image)).format == "WEBP"

    async def test_key_is_the_hash_of_the_image(self, shared: ImageProcessor) -> None:
        avatar = await shared.avatar(images.encoded(images.plain()))
        assert avatar.key == hashlib.sha256(avatar.image).hexdigest()

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    async def test_placeholder_is_a_short_thumbhash(self, shared: ImageProcessor, mode: str) -> None:
        avatar = await shared.avatar(images.encoded(images.plain((255, 0, 0, 100)[: len(mode)], mode=mode)))
        assert 5 <= len(base64.b64decode(avatar.placeholder, validate=True)) <= 25

    @pytest.mark.parametrize(
        ("orientation", "red_at"),
        list(enumerate([(4, 32), (60, 32), (60, 32), (4, 32), (32, 4), (32, 4), (32, 60), (32, 60)], start=1)),
    )
    async def test_orientation_is_applied(
        self, shared: ImageProcessor, orientation: int, red_at: tuple[int, int]
    ) -> None:
        avatar = await shared.avatar(images.turned(orientation))
        assert images.is_near(images.decoded(avatar.image), red_at, images.RED)

    async def test_colour_profile_is_applied(self, shared: ImageProcessor) -> None:
        data = images.encoded(images.plain(images.RED), icc_profile=images.swapped_profile())
        picture = images.decoded((await shared.avatar(data)).image)
        assert images.is_near(picture, (32, 32), images.BLUE, tolerance=40)

    async def test_broken_colour_profile_is_ignored(self, shared: ImageProcessor) -> None:
        data = images.encoded(images.plain(images.RED), icc_profile=b"broken")
        assert images.is_near(images.decoded((await shared.avatar(data)).image), (32, 32), images.RED)

    async def test_cmyk_becomes_rgb(self, shared: ImageProcessor) -> None:
        picture = images.decoded((await shared.avatar(images.cmyk_jpeg())).image)
        assert images.is_near(picture, (32, 32), (0, 255, 255), tolerance=40)

    async def test_sixteen_bits_are_scaled(self, shared: ImageProcessor) -> None:
        picture = images.decoded((await shared.avatar(images.deep_png())).image)
        assert images.is_near(picture, (16, 16), (128, 128, 128))

    async def test_interlaced_image_is_accepted(self, shared: ImageProcessor) -> None:
        assert images.is_near(images.decoded((await shared.avatar(images.interlaced_png())).image), (5, 3), images.RED)

    async def test_palette_keeps_transparency(self, shared: ImageProcessor) -> None:
        picture = images.decoded((await shared.avatar(images.palette_png())).image)
        assert images.is_near(picture, (4, 32), (0, 0, 0, 0))
        assert images.is_near(picture, (60, 32), (*images.RED, 255))

    @pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
    async def test_first_frame_of_thousands_is_used(self, shared: ImageProcessor, file_format: str) -> None:
        avatar = await shared.avatar(images.animation(file_format, 2000))
        assert images.is_near(images.decoded(avatar.image), (8, 8), images.RED)


class TestMetadata:
    async def test_gps_location_is_removed(self, shared: ImageProcessor) -> None:
        avatar = await shared.avatar(images.with_gps())
        assert not Image.open(BytesIO(avatar.image)).getexif()
        assert not Image.open(BytesIO(avatar.thumb)).getexif()

    async def test_colour_profile_is_removed(self, shared: ImageProcessor) -> None:
        data = images.encoded(images.plain(), icc_profile=images.swapped_profile())
        assert "icc_profile" not in Image.open(BytesIO((await shared.avatar(data)).image)).info

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
    async def test_tail_of_a_polyglot_is_removed(self, shared: ImageProcessor, file_format: str) -> None:
        avatar = await shared.avatar(images.encoded(images.plain(), file_format) + b"<script>PK\x03\x04</script>")
        assert b"script" not in avatar.image + avatar.thumb


class TestRefusal:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
            b"8BPS\x00\x01" + bytes(40),
            b"SIMPLE  =                    T" + b" " * 2850,
            images.encoded(images.plain(), "TIFF"),
            images.encoded(images.plain(), "BMP"),
            images.encoded(images.plain(), "AVIF"),
            b"\x89PNG\r\n\x1a\n" + images.encoded(images.plain(), "BMP"),
            b"RIFF\x04\x00\x00\x00WEBP",
            b"\xff\xd8\xff",
            b"GIF89a",
            images.lying_png(),
            images.damaged_png(),
        ],
        ids=["empty", "svg", "eps", "psd", "fits", "tiff", "bmp", "avif", "png", "webp", "jpeg", "gif", "lie", "crc"],
    )
    async def test_file_without_image_is_refused(self, shared: ImageProcessor, data: bytes) -> None:
        with pytest.raises(UnsupportedImage):
            await shared.avatar(data)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
    @pytest.mark.parametrize("size", [(256, 256), (2048, 2048)])
    async def test_half_of_file_is_refused(
        self, shared: ImageProcessor, file_format: str, size: tuple[int, int]
    ) -> None:
        data = images.encoded(images.noise(size), file_format)
        with pytest.raises(UnsupportedImage):
            await shared.avatar(data[: len(data) // 2])

    @pytest.mark.parametrize("side", [5_001, 12_000, 30_000])
    async def test_too_many_pixels_are_refused(self, shared: ImageProcessor, side: int) -> None:
        with pytest.raises(ImageTooLarge):
            await shared.avatar(images.bomb_png(side))

    async def test_maximum_allowed_pixels_are_accepted(self, shared: ImageProcessor) -> None:
        assert (await shared.avatar(images.bomb_png(5_000))).width == 512

    @pytest.mark.parametrize("data", [images.wide_gif(), images.wide_webp()], ids=["gif", "webp"])
    async def test_large_canvas_of_a_small_frame_is_refused(self, shared: ImageProcessor, data: bytes) -> None:
        with pytest.raises(ImageTooLarge):
            await shared.avatar(data)
