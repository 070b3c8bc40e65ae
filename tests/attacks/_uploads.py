"""Attacks on upload forms and on image decoders."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

import msgspec
from PIL import Image

from tests.attacks._cost import MIB, Victim
from tests.attacks._raw import Attack, Play, dial, request, say, signed, sized
from tests.support.images import bomb_png, damaged_png, encoded, lying_png, plain, wide_gif, wide_webp, with_gps

_LINE = "POST /avatar/upload"
_DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.png"'
_TEXT = b'Content-Disposition: form-data; name="file"\r\nContent-Type: text/plain; charset='
_TINY = encoded(plain())
# An upload refused early may be cut off before the response is received.
_TOO_LARGE = ("413 open", "413 closed", "closed")
_BAD_FORM = ("400 open", "400 closed")


def _form(*parts: bytes, start: bytes = b"", end: bytes = b"--b--\r\n") -> bytes:
    return start + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def _part(content: bytes, head: bytes = _DISPOSITION) -> bytes:
    return head + b"\r\n\r\n" + content


def _sends(make: Callable[[], bytes], content_type: bytes = b"multipart/form-data; boundary=b") -> Play:
    """An authenticated upload; the form is built when it is needed."""
    header = b"Content-Type: %b\r\n" % content_type
    return signed(lambda who: sized(_LINE, make(), header, who))


def _file(name: str, make: Callable[[], bytes], *right: str) -> Attack:
    return Attack(name, _sends(lambda: _form(_part(make()))), right)


def _named(name: str, filename: bytes, *right: str) -> Attack:
    head = b'Content-Disposition: form-data; name="file"; ' + filename
    return Attack(name, _sends(lambda: _form(_part(_TINY, head))), right)


def _raw_form(
    name: str, make: Callable[[], bytes], *right: str, content_type: bytes = b"multipart/form-data; boundary=b"
) -> Attack:
    return Attack(name, _sends(make, content_type), right)


def _noise() -> bytes:
    return encoded(Image.frombytes("RGB", (1800, 1800), os.urandom(1800 * 1800 * 3)), compress_level=0)


def _svg() -> bytes:
    return b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


async def _ranges(victim: Victim, count: int) -> str:
    """An avatar requested in ranges (Starlette's CVE-2025-62727)."""
    who, url = victim.bearer, b""
    body = _form(_part(_TINY))
    async with dial(victim) as (reader, writer):
        writer.write(sized(_LINE, body, b"Content-Type: multipart/form-data; boundary=b\r\n", who))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        url = msgspec.json.decode(await reader.readexactly(length))["avatar"]["url"].encode()
    ranges = b"Range: bytes=%b\r\n" % b",".join(b"%d-" % at for at in range(count))
    return await say(victim, [request(f"GET {url.decode()}", ranges)])


FILES = (
    _file("a bomb of 30,000 by 30,000 pixels", lambda: bomb_png(30_000), "422 open"),
    _file("a bomb of 12,000 by 12,000 pixels", lambda: bomb_png(12_000), "422 open"),
    _file("a picture of just 25 megapixels", lambda: bomb_png(5000), "201 open"),
    _file("a GIF of 65,535 by 65,535 pixels", wide_gif, "422 open"),
    _file("a WebP of 16,384 by 16,384 pixels", wide_webp, "415 open", "422 open"),
    _file("a PNG that promises more rows", lying_png, "415 open"),
    _file("a PNG with a bit turned over", damaged_png, "415 open"),
    _file("10 MB of noise", _noise, "201 open"),
    _file("a picture and a page in one file", lambda: _TINY + b"<script>alert(1)</script>", "201 open"),
    _file("a page before a picture", lambda: b"<html>" + _TINY, "415 open"),
    _file("a picture and an archive in one file", lambda: _TINY + b"PK\x03\x04" + bytes(1000), "201 open"),
    _file("a picture with a place", with_gps, "201 open"),
    _file("SVG named .png", _svg, "415 open"),
    _file("TIFF named .png", lambda: encoded(plain(), "TIFF"), "415 open"),
    _file("BMP named .png", lambda: encoded(plain(), "BMP"), "415 open"),
    _file("ICO named .png", lambda: encoded(plain(), "ICO"), "415 open"),
    _file("EPS named .png", lambda: encoded(plain(), "EPS"), "415 open"),
    _file("JPEG 2000 named .png", lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), "415 open"),
    _file(
        "PSD named .png",
        lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(100),
        "415 open",
    ),
    _file("FITS named .png", lambda: b"SIMPLE  =                    T".ljust(2880), "415 open"),
    _file("nothing", lambda: b"", "415 open", "400 open"),
    _file("10 MiB and one byte", lambda: b"\x89PNG" + bytes(10 * MIB), *_TOO_LARGE),
    _file("40 MiB", lambda: bytes(40 * MIB), *_TOO_LARGE),
)

NAMES = (
    _named("a name that leads elsewhere", b'filename="../../../../etc/passwd"', "201 open"),
    _named("a name with a NUL", b'filename="a\0.png"', "201 open", "400 open"),
    _named("a name with line ends", b'filename="a%0d%0aSet-Cookie: x"', "201 open"),
    _named("a name of 4 KB", b'filename="' + b"a" * 4000 + b'"', "201 open", "400 open"),
    _named("two names", b"filename=\"a.png\"; filename*=UTF-8''..%2f..%2fb.html", "201 open", "400 open"),
    _named("an extended name alone", b"filename*=UTF-8''..%2f..%2fb.html", "201 open", "400 open"),
    _named("a name in continuations", b'filename*0="a"; filename*1=".png"', "201 open", "400 open"),
    _named("50,000 semicolons", b"; " * 50_000, *_BAD_FORM),
    _named("4,000 backslashes and quotes", b'filename="' + b'\\"' * 2000, "201 open"),
)

FORMS = (
    _raw_form(
        "1,001 parts", lambda: _form(*[_part(b"x", b'Content-Disposition: form-data; name="a"')] * 1001), *_BAD_FORM
    ),
    _raw_form("300,000 empty parts", lambda: b"--b\r\n\r\n\r\n" * 300_000, *_BAD_FORM),
    _raw_form("9 MiB before the first part", lambda: _form(_part(_TINY), start=b"a" * (9 * MIB)), *_BAD_FORM),
    _raw_form(
        "9 MiB of line ends before it",
        lambda: _form(_part(_TINY), start=b"\r\n" * (9 * MIB // 2)),
        *_BAD_FORM,
        "201 open",
    ),
    _raw_form("9 MiB behind the last part", lambda: _form(_part(_TINY)) + b"a" * (9 * MIB), *_BAD_FORM, "201 open"),
    _raw_form("a part's header of 9 MiB", lambda: _form(_part(_TINY, b"X: " + b"a" * (9 * MIB))), *_BAD_FORM),
    _raw_form(
        "100,000 headers of a part", lambda: _form(_part(_TINY, b"a: b\r\n" * 100_000 + _DISPOSITION)), *_BAD_FORM
    ),
    _raw_form(
        "9 MiB of repeated almost-boundaries",
        lambda: _form(_part(b"\r\n--" * (9 * MIB // 4))),
        "415 open",
        *_BAD_FORM,
    ),
    _raw_form("9 MiB of dashes", lambda: _form(_part(b"-" * (9 * MIB))), "415 open", *_BAD_FORM),
    _raw_form("no end", lambda: _form(_part(_TINY), end=b""), *_BAD_FORM),
    _raw_form("no parts", lambda: b"--b--\r\n", *_BAD_FORM),
    _raw_form("lines ended by LF", lambda: _form(_part(_TINY)).replace(b"\r\n", b"\n"), *_BAD_FORM),
    _raw_form("no boundary", lambda: _form(_part(_TINY)), *_BAD_FORM, content_type=b"multipart/form-data"),
    _raw_form(
        "an empty boundary", lambda: _form(_part(_TINY)), *_BAD_FORM, content_type=b'multipart/form-data; boundary=""'
    ),
    _raw_form(
        "a boundary of 4 KB",
        lambda: b"--" * 100_000,
        *_BAD_FORM,
        content_type=b"multipart/form-data; boundary=" + b"-" * 4000,
    ),
    _raw_form(
        "a boundary that is no ASCII",
        lambda: _form(_part(_TINY)),
        *_BAD_FORM,
        content_type=b"multipart/form-data; boundary=\xff\xfe",
    ),
    _raw_form(
        "2,000 boundaries",
        lambda: _form(_part(_TINY)),
        *_BAD_FORM,
        "201 open",
        content_type=b"multipart/form-data; boundary=b" + b"; a=b" * 6000,
    ),
    _raw_form(
        "quotes without an end in its type",
        lambda: _form(_part(_TINY)),
        *_BAD_FORM,
        content_type=b"multipart/form-data; boundary=" + b'\\"' * 4000 + b" " * 8000,
    ),
    _raw_form(
        "a form in a form",
        lambda: _form(b"Content-Type: multipart/mixed; boundary=b\r\n" + _part(_form(_part(_TINY)))),
        *_BAD_FORM,
        "415 open",
    ),
    _raw_form(
        "an encoding for mail",
        lambda: _form(_part(b"iVBORw0KGgo=", _DISPOSITION + b"\r\nContent-Transfer-Encoding: base64")),
        *_BAD_FORM,
        "415 open",
    ),
    _raw_form(
        "9 MiB of text in punycode",
        lambda: _form(_part(b"a" * (9 * MIB // 2) + b"-" + b"b" * (9 * MIB // 2), _TEXT + b"punycode")),
        "415 open",
    ),
    _raw_form("9 MiB of text in IDNA", lambda: _form(_part(b"xn--a" * (9 * MIB // 5), _TEXT + b"idna")), "415 open"),
    _raw_form(
        "an unknown charset",
        lambda: _form(
            _part(b"x", b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=zlib')
        ),
        *_BAD_FORM,
    ),
    _raw_form("a body that is no form", lambda: _TINY, "415 open", content_type=b"image/png"),
    Attack("an avatar in 1,300 ranges", lambda victim: _ranges(victim, 1300), ("200 open",)),
    Attack("an avatar in 10,000 ranges", lambda victim: _ranges(victim, 10_000), ("431 closed", "closed")),
)

UPLOADS = (*FILES, *NAMES, *FORMS)
