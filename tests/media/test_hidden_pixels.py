"""Transparency, and the position of the first frame on its canvas, compared with Chromium 156."""

from __future__ import annotations

import pytest
from PIL import Image

from messenger.errors import ImageTooLarge, UnsupportedImage
from messenger.media.pictures import _blendable
from messenger.media.processor import ImageProcessor
from messenger.media.stills import decode
from tests.media import files
from tests.support import images

PALETTE = files.chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255]))
ABOVE, INSIDE, BELOW = (2, 2), (15, 15), (35, 35)


def shown(data: bytes) -> Image.Image:
    """The decoded picture as RGBA."""
    return _blendable(decode(data, 25_000_000, (512, 512)).image).convert("RGBA")


def alphas(data: bytes) -> list[int]:
    """How opaque the middle of each stripe of 16 pixels is."""
    alpha = shown(data).getchannel("A")
    return [int(str(alpha.getpixel((x, 8)))) for x in range(8, alpha.width, 16)]


class TestTransparentColour:
    @pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
    def test_grey_of_every_depth_is_hidden(self, depth: int) -> None:
        white = (1 << depth) - 1
        for key, expected in ((0, [0, 255]), (white, [255, 0])):
            assert alphas(files.striped_png(depth, files.GREY, [(0,), (white,)], before=files.key(key))) == expected

    @pytest.mark.parametrize(("depth", "middle"), [(2, 1), (4, 7), (8, 100), (16, 0x1234)])
    def test_greys_beside_transparent_key_stay_opaque(self, depth: int, middle: int) -> None:
        stripes = [(middle - 1,), (middle,), (middle + 1,)]
        data = files.striped_png(depth, files.GREY, stripes, before=files.key(middle))
        assert alphas(data) == [255, 0, 255]

    def test_deep_greys_are_compared_in_both_bytes(self) -> None:
        stripes = [(0x1234,), (0x1235,), (0x1334,)]
        assert alphas(files.striped_png(16, files.GREY, stripes, before=files.key(0x1234))) == [0, 255, 255]

    @pytest.mark.parametrize("depth", [8, 16])
    def test_rgb_is_compared_in_every_bit(self, depth: int) -> None:
        full = (1 << depth) - 1
        stripes = [(full, 0, 0), (full, 0, 1), (full - 1, 0, 0)]
        data = files.striped_png(depth, files.TRUE_COLOUR, stripes, before=files.key(full, 0, 0))
        assert alphas(data) == [0, 255, 255]

    @pytest.mark.parametrize("depth", [2, 4, 8])
    def test_palette_has_an_alpha_for_each_colour(self, depth: int) -> None:
        before = PALETTE + files.chunk(b"tRNS", bytes([0, 128]))
        data = files.striped_png(depth, files.PALETTE, [(0,), (1,), (2,)], before=before)
        assert alphas(data) == [0, 128, 255]

    def test_single_bit_palette_has_alpha(self) -> None:
        before = PALETTE + files.chunk(b"tRNS", bytes([255, 0]))
        assert alphas(files.striped_png(1, files.PALETTE, [(0,), (1,)], before=before)) == [255, 0]

    @pytest.mark.parametrize(("depth", "key", "expected"), [(2, 7, [255, 255]), (8, 0x103, [255, 0])])
    def test_transparent_key_beyond_bit_depth_is_masked(self, depth: int, key: int, expected: list[int]) -> None:
        assert alphas(files.striped_png(depth, files.GREY, [(0,), (3,)], before=files.key(key))) == expected

    async def test_hidden_grey_is_transparent_in_the_avatar(self) -> None:
        processor = ImageProcessor(timeout=60)
        data = files.striped_png(2, files.GREY, [(3,), (1,)], before=files.key(3), size=32)
        picture = images.decoded((await processor.avatar(data)).image)
        await processor.close()
        assert images.is_near(picture, (8, 32), (0, 0, 0, 0))
        assert images.is_near(picture, (56, 32), (85, 85, 85, 255))


class TestCanvas:
    @pytest.mark.parametrize("key", [None, 2])
    def test_gif_is_transparent_around_first_frame(self, key: int | None) -> None:
        picture = shown(files.red_gif((40, 40), (10, 10), (10, 10), key=key))
        assert picture.size == (40, 40)
        assert [picture.getpixel(at) for at in (ABOVE, INSIDE, BELOW)] == [(0,) * 4, (*images.RED, 255), (0,) * 4]

    def test_gif_frame_of_a_transparent_colour_is_transparent(self) -> None:
        assert shown(files.red_gif((40, 40), (40, 40), key=1)).getchannel("A").getextrema() == (0, 0)

    @pytest.mark.parametrize("frame", [(0, 0), (0, 10), (10, 0)])
    def test_gif_with_an_empty_first_frame_is_a_transparent_canvas(self, frame: tuple[int, int]) -> None:
        picture = shown(files.red_gif((40, 40), frame))
        assert picture.size == (40, 40)
        assert picture.getchannel("A").getextrema() == (0, 0)

    @pytest.mark.parametrize("screen", [(0, 0), (10, 10)])
    def test_gif_canvas_grows_to_size_of_first_frame(self, screen: tuple[int, int]) -> None:
        picture = shown(files.red_gif(screen, (40, 40)))
        assert picture.size == (40, 40)
        assert picture.getpixel(BELOW) == (*images.RED, 255)

    def test_gif_canvas_grows_to_corner_of_first_frame(self) -> None:
        picture = shown(files.red_gif((20, 20), (20, 20), (20, 20)))
        assert (picture.size, picture.getpixel(INSIDE)) == ((40, 40), (0, 0, 0, 0))
        assert picture.getpixel(BELOW) == (*images.RED, 255)

    @pytest.mark.parametrize("says_alpha", [False, True])
    def test_webp_is_transparent_around_first_frame(self, says_alpha: bool) -> None:
        picture = shown(files.red_webp((40, 40), (10, 10), (10, 10), says_alpha=says_alpha))
        assert picture.size == (40, 40)
        assert [picture.getpixel(at) for at in (ABOVE, INSIDE, BELOW)] == [(0,) * 4, (*images.RED, 255), (0,) * 4]

    @pytest.mark.parametrize("size", [(100, 40), (40, 100)])
    def test_frame_beside_the_centre_of_the_canvas_is_cropped(self, size: tuple[int, int]) -> None:
        for data in (files.red_gif(size, (36, 36)), files.red_webp(size, (36, 36))):
            picture = shown(data)
            assert picture.size == (40, 40)
            red = [at for at in ((0, 0), (5, 5), (39, 39)) if picture.getpixel(at) == (*images.RED, 255)]
            assert red == [(0, 0), (5, 5)]

    async def test_free_canvas_is_transparent_in_the_avatar(self) -> None:
        processor = ImageProcessor(timeout=60)
        for data in (files.red_gif((64, 64), (20, 20), (20, 20)), files.red_webp((64, 64), (20, 20), (20, 20))):
            avatar = await processor.avatar(data)
            picture = images.decoded(avatar.image)
            assert avatar.width == 64
            assert images.is_near(picture, (4, 4), (0, 0, 0, 0))
            assert images.is_near(picture, (30, 30), (*images.RED, 255))
        empty = await processor.avatar(files.red_gif((64, 64), (0, 0)))
        assert images.decoded(empty.image).getchannel("A").getextrema() == (0, 0)
        await processor.close()

    async def test_canvas_without_pixels_is_refused(self) -> None:
        processor = ImageProcessor(timeout=60)
        for data in (files.red_gif((0, 0), (0, 0)), files.red_webp((20, 20), (10, 10), (16, 16))):
            with pytest.raises(UnsupportedImage):
                await processor.avatar(data)
        with pytest.raises(ImageTooLarge):
            await processor.avatar(files.red_gif((10, 10), (1, 1), (65_000, 65_000)))
        await processor.close()
