"""Avatars over HTTP, good files and bad ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar

from messenger.testing import Person
from tests.controllers._shapes import AVATAR
from tests.controllers.conftest import Snapshot
from tests.support.http import assert_problem
from tests.support.images import bomb_png, damaged_png, encoded, plain, wide_gif

LIMIT = 10 * 1024 * 1024
FORM = "multipart/form-data; boundary=b"


def part(name: str = "file", content: bytes = b"x", filename: str = '; filename="a.png"') -> bytes:
    """One part of a form with the boundary `b`."""
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
        name.encode(),
        filename.encode(),
        content,
    )


async def upload(client: httpx.AsyncClient, person: Person, file: bytes, **more: Any) -> httpx.Response:
    """Send a file as an avatar."""
    headers = {**person.headers, **more}
    return await client.post("/avatar/upload", headers=headers, files={"file": ("photo.jpg", file)})


class TestUploadAvatar:
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
    async def test_upload_is_201_with_documented_keys(
        self, client: httpx.AsyncClient, ada: Person, file_format: str
    ) -> None:
        answer = await upload(client, ada, encoded(plain(), file_format))
        assert (answer.status_code, set(answer.json()), set(answer.json()["avatar"])) == (201, {"avatar"}, AVATAR)

    async def test_uploaded_avatar_is_shown_in_profile(self, client: httpx.AsyncClient, ada: Person) -> None:
        avatar = (await upload(client, ada, encoded(plain()))).json()["avatar"]
        assert (await client.get("/profile", headers=ada.headers)).json()["avatar"] == avatar

    @pytest.mark.parametrize("url", ["url", "thumb_url"])
    async def test_avatar_urls_serve_immutable_images(self, client: httpx.AsyncClient, ada: Person, url: str) -> None:
        avatar = (await upload(client, ada, encoded(plain()))).json()["avatar"]
        answer = await client.get(avatar[url])
        assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (
            200,
            "image/webp",
            "public, max-age=31536000, immutable",
        )
        assert answer.content[8:12] == b"WEBP"

    async def test_file_name_and_content_type_are_ignored(self, client: httpx.AsyncClient, ada: Person) -> None:
        file = ("../../etc/passwd.exe", encoded(plain()), "text/html")
        answer = await client.post("/avatar/upload", headers=ada.headers, files={"file": file})
        assert answer.status_code == 201

    async def test_data_appended_to_image_is_not_served(self, client: httpx.AsyncClient, ada: Person) -> None:
        polyglot = encoded(plain(), "GIF") + b"<script>alert(1)</script>PK\x03\x04"
        avatar = (await upload(client, ada, polyglot)).json()["avatar"]
        assert b"script" not in (await client.get(avatar["url"])).content


class TestDeleteAvatar:
    async def test_deletion_without_avatar_is_204(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.delete("/avatar/", headers=ada.headers)
        assert (answer.status_code, answer.content) == (204, b"")

    async def test_deleted_avatar_file_is_404(self, client: httpx.AsyncClient, ada: Person) -> None:
        avatar = (await upload(client, ada, encoded(plain((1, 2, 3), (65, 33))))).json()["avatar"]
        await client.delete("/avatar/", headers=ada.headers)
        assert_problem(await client.get(avatar["url"]), 404, "avatar_not_found")
        assert (await client.get("/profile", headers=ada.headers)).json()["avatar"] is None


class TestBadFiles:
    @pytest.mark.parametrize(
        ("file", "status", "code"),
        [
            pytest.param(b"", 415, "unsupported_image", id="empty"),
            pytest.param(b"hello", 415, "unsupported_image", id="text"),
            pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image", id="svg"),
            pytest.param(encoded(plain(), "BMP"), 415, "unsupported_image", id="bmp"),
            pytest.param(encoded(plain(), "TIFF"), 415, "unsupported_image", id="tiff"),
            pytest.param(encoded(plain())[:60], 415, "unsupported_image", id="cut off"),
            pytest.param(b"%PDF-1.7\n" + encoded(plain(), "JPEG"), 415, "unsupported_image", id="behind a PDF"),
            pytest.param(damaged_png(), 415, "unsupported_image", id="damaged"),
            pytest.param(bomb_png(12_000), 422, "image_too_large", id="bomb"),
            pytest.param(wide_gif(), 422, "image_too_large", id="wide"),
            pytest.param(b"x" * (LIMIT + 1), 413, "file_too_large", id="a byte too many"),
            pytest.param(b"x" * (LIMIT + 1024 * 1024), 413, "file_too_large", id="much too many bytes"),
        ],
    )
    async def test_invalid_file_is_refused_and_old_avatar_stays(
        self, client: httpx.AsyncClient, ada: Person, snapshot: Snapshot, file: bytes, status: int, code: str
    ) -> None:
        await upload(client, ada, encoded(plain()))
        before = await snapshot(ada)
        assert_problem(await upload(client, ada, file), status, code)
        assert await snapshot(ada) == before


class TestPartHeaders:
    @pytest.mark.parametrize(
        "disposition",
        [
            pytest.param(b'name="file"; filename="a.png"', id="a filename"),
            pytest.param(b'name="file"', id="no filename"),
            pytest.param(b"name=file", id="no quotes"),
            pytest.param(b'name="file"; filename=""', id="an empty filename"),
            pytest.param(b"name=\"file\"; filename*=utf-8''%C3%BC.png", id="an extended filename alone"),
            pytest.param(b"filename*=x-unknown''%ff%fe; name=\"file\"", id="an extended filename of no charset"),
            pytest.param('name="file"; filename="Müller.png"'.encode("latin-1"), id="Latin-1"),
            pytest.param('name="file"; filename="Müller.png"'.encode(), id="UTF-8"),
            pytest.param('name="file"; filename="写真.png"'.encode("shift-jis"), id="Shift JIS"),
            pytest.param('filename="фото.png"; name="file"'.encode("koi8-r"), id="KOI8-R before the name"),
            pytest.param(b'name="file"; filename="a;b=\\"c.png"', id="quotes in the filename"),
        ],
    )
    async def test_part_called_file_is_the_file(
        self, client: httpx.AsyncClient, ada: Person, disposition: bytes
    ) -> None:
        content = b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n--b--\r\n" % (
            disposition,
            encoded(plain()),
        )
        headers = {**ada.headers, "Content-Type": FORM}
        answer = await client.post("/avatar/upload", headers=headers, content=content)
        assert answer.status_code == 201


class TestBadForms:
    @pytest.mark.parametrize(
        ("content", "content_type", "status", "code", "field"),
        [
            pytest.param(b"", FORM, 400, "validation_failed", "file", id="empty"),
            pytest.param(b"--b--\r\n", FORM, 400, "validation_failed", "file", id="no part"),
            pytest.param(part("photo") + b"--b--\r\n", FORM, 400, "unknown_field", "photo", id="wrong name"),
            pytest.param(part() + part("x") + b"--b--\r\n", FORM, 400, "unknown_field", "x", id="one more"),
            pytest.param(part() + part() + b"--b--\r\n", FORM, 400, "validation_failed", "file", id="two files"),
            pytest.param(part(filename="") + b"--b--\r\n", FORM, 415, "unsupported_image", None, id="text"),
            pytest.param(part("ü", filename="") + b"--b--\r\n", FORM, 400, "unknown_field", None, id="strange name"),
            pytest.param(part() * 1000 + b"--b--\r\n", FORM, 400, "validation_failed", None, id="1000 parts"),
            pytest.param(part(), FORM, 400, "validation_failed", None, id="cut off"),
            pytest.param(b"hello", FORM, 400, "validation_failed", None, id="no form"),
            pytest.param(
                part() + b"--b--\r\n", "multipart/form-data", 400, "validation_failed", None, id="no boundary"
            ),
            pytest.param(b"{}", "application/json", 415, "unsupported_media_type", None, id="json"),
            pytest.param(b"file=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type", None, id="url"),
            pytest.param(b"\x89PNG", "image/png", 415, "unsupported_media_type", None, id="bare image"),
        ],
    )
    async def test_invalid_form_is_refused(
        self,
        client: httpx.AsyncClient,
        ada: Person,
        content: bytes,
        content_type: str,
        status: int,
        code: str,
        field: str | None,
    ) -> None:
        headers = {**ada.headers, "Content-Type": content_type}
        answer = await client.post("/avatar/upload", headers=headers, content=content)
        assert_problem(answer, status, code, field=field)


class TestUnauthenticatedUpload:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer mat_forged"}], ids=["no token", "forged token"])
    async def test_unauthenticated_upload_is_refused_before_body_is_read(
        self, client: httpx.AsyncClient, app: Litestar, headers: dict[str, str]
    ) -> None:
        taken = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal taken
            for _ in range(8):
                taken += 1
                yield b"x" * 65536

        answer = await client.post("/avatar/upload", headers={**headers, "Content-Type": FORM}, content=chunks())
        assert_problem(answer, 401, "unauthenticated")
        assert taken == 0


@pytest.mark.parametrize(
    "key",
    [
        "0" * 64,
        "0" * 63,
        "x",
        "%00",
        "%2e%2e",
        "..%2f..%2fsecret",
        "%2e%2e%2f",
        "0" * 64 + "_thumb",
        "A" * 10_000,
        "%ff",
    ],
)
async def test_unknown_avatar_key_is_404(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.get(f"/avatars/{key}")
    assert (answer.status_code, answer.json()["code"] in {"avatar_not_found", "not_found"}) == (404, True)
