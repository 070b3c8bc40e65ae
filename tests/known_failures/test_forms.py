"""Failures of other projects with forms and bodies: quadratic parsers, names that became paths, unbounded reading."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from messenger.app import MAX_BODY_BYTES
from messenger.testing import Person
from tests.known_failures._timed import QUICK, timed
from tests.support.http import WITH_JSON
from tests.support.images import encoded, plain

DISPOSITION = b'form-data; name="file"; filename="a.png"'


def form(disposition: bytes = DISPOSITION, *, before: bytes = b"", more: bytes = b"", file: bytes = b"x") -> bytes:
    """A form with the boundary `b` and one part."""
    return before + b"--b\r\nContent-Disposition: " + disposition + b"\r\n" + more + b"\r\n" + file + b"\r\n--b--\r\n"


FORMS: dict[str, tuple[str, bytes]] = {
    "CVE-2024-24762 a content type that backtracks": (
        'multipart/form-data; boundary=b; !="' + "\\" * 60_000,
        form(),
    ),
    "CVE-2024-24762 parameters without end": ("multipart/form-data; boundary=b" + "; a=b" * 12_000, form()),
    "CVE-2024-53981 a preamble of line ends": ("multipart/form-data; boundary=b", form(before=b"\r\n" * 4_000_000)),
    "CVE-2024-53981 bytes behind the end": ("multipart/form-data; boundary=b", form() + b"\r\n" * 4_000_000),
    "CVE-2026-53538 semicolons": ("multipart/form-data; boundary=b", form(DISPOSITION + b";" * 8_000_000)),
    "CVE-2026-53538 quotes": ("multipart/form-data; boundary=b", form(b'form-data; name="' + b'\\"' * 250_000)),
    "CVE-2023-25578 a header without end": ("multipart/form-data; boundary=b", form(more=b"X: " + b"x" * 900_000)),
    "CVE-2023-25578 headers without end": ("multipart/form-data; boundary=b", form(more=b"X: x\r\n" * 100_000)),
    "CVE-2023-25578 parts without end": ("multipart/form-data; boundary=b", form().replace(b"--b--\r\n", b"") * 10_000),
    "GHSA-v9pg-7xvm-68hf less than nothing": ("multipart/form-data; boundary=b", form(more=b"Content-Length: -1\r\n")),
    "a boundary that nearly comes": ("multipart/form-data; boundary=b", form(file=b"\r\n--" * 2_000_000)),
    "a boundary without end": ("multipart/form-data; boundary=" + "b" * 60_000, form()),
}


@pytest.mark.parametrize("name", FORMS)
async def test_cve_2024_24762_cve_2024_53981_cve_2026_53538_cve_2023_25578_hostile_form_is_refused_quickly(
    client: httpx.AsyncClient, ada: Person, name: str
) -> None:
    """python-multipart, Starlite: parsers were quadratic, or accepted any number of parts."""
    content_type, content = FORMS[name]
    headers = {**ada.headers, "Content-Type": content_type}
    answer, seconds = await timed(client, "POST", "/avatar/upload", headers=headers, content=content)
    assert answer.status_code in {400, 413, 415}
    assert seconds < QUICK


SMUGGLED = [
    b'form-data; name="file"; filename="a.png"; filename*=UTF-8\'\'..%2f..%2fetc%2fpasswd',
    b'form-data; name="file"; filename="../../../../etc/passwd"',
    b'form-data; name="file"; filename="/etc/passwd"',
    b'form-data; name="file"; filename="C:\\\\Windows\\\\win.ini"',
    b'form-data; name="file"; filename="a\x00.png"',
    b'form-data; name="file"; name*=UTF-8\'\'other; filename="a.png"',
]


@pytest.mark.parametrize("disposition", SMUGGLED)
async def test_cve_2026_24486_ghsa_vffw_93wf_4j4q_file_name_of_upload_is_ignored(
    client: httpx.AsyncClient, ada: Person, disposition: bytes
) -> None:
    """python-multipart: a name in a form became a path. Here a stored file is named after its content."""
    headers = {**ada.headers, "Content-Type": "multipart/form-data; boundary=b"}
    content = form(disposition, file=encoded(plain()))
    answer = await client.post("/avatar/upload", headers=headers, content=content)
    assert answer.status_code == 201
    key = answer.json()["avatar"]["key"]
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")


# --- bodies that have no end ----------------------------------------------------------------------

CONTENT_TYPES = [
    "application/json",
    "application/msgpack",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/mixed; boundary=b",
    "image/png",
    "",
]


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
async def test_cve_2024_52805_no_content_type_makes_server_read_unbounded_body(
    client: httpx.AsyncClient, ada: Person, content_type: str
) -> None:
    """Synapse: a body of an unexpected content type was buffered without a bound. Tested on every route with a body."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        taken = 0
        while True:
            taken += 65536
            assert taken < 4 * MAX_BODY_BYTES, "the server reads on"
            yield b"x" * 65536

    headers = {**ada.headers, **({"Content-Type": content_type} if content_type else {})}
    for operation in WITH_JSON:
        answer = await client.request(operation.method, operation.url(), headers=headers, content=endless())
        assert answer.status_code == 413, operation.id
        assert taken <= MAX_BODY_BYTES + 2 * 65536
