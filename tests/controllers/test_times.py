"""Times in requests, at both ends of the calendar and in every RFC 3339 form."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from messenger.testing import Person
from tests.support.http import MSGPACK, assert_problem

PAST, FAR = "1970-01-01T00:00:00.000Z", "9998-12-31T00:00:00.000Z"


async def _mute(client: httpx.AsyncClient, ada: Person, bob: Person, until: object) -> httpx.Response:
    return await client.put(f"/conversations/{bob.id}", headers=ada.headers, json={"muted_until": until})


class TestMutedUntil:
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            pytest.param("0001-01-01T00:00:00Z", PAST, id="Go's zero time"),
            pytest.param("0001-01-01T00:00:00.0000000", None, id=".NET's default without a zone"),
            pytest.param("0001-01-01T00:00:00.0000000Z", PAST, id=".NET's MinValue"),
            pytest.param("0001-01-01T00:00:00+01:00", PAST, id="before the calendar"),
            pytest.param("0001-01-01T00:00:00+23:59", PAST, id="a day before the calendar"),
            pytest.param("0001-01-01T00:00:00-23:59", PAST, id="first day, to the west"),
            pytest.param("1969-12-31T23:59:59.999Z", PAST, id="before 1970"),
            pytest.param("9999-12-31T23:59:59.9999999Z", FAR, id=".NET's MaxValue"),
            pytest.param("9999-12-31T23:59:59.999999999Z", FAR, id="nanoseconds"),
            pytest.param("9999-12-31T23:59:59Z", FAR, id="the last second"),
            pytest.param("9999-12-31T23:59:59-23:59", FAR, id="behind the calendar"),
            pytest.param("9999-12-31T23:59:60Z", None, id="a second behind the calendar"),
            pytest.param("2026-12-31T23:59:60Z", None, id="a leap second"),
            pytest.param("2026-11-22T10:15:30.1239999999Z", "2026-11-22T10:15:30.123Z", id="cut, not rounded"),
            pytest.param("2026-11-22t10:15:30.1z", "2026-11-22T10:15:30.100Z", id="lower case"),
            pytest.param("2026-11-22 10:15:30-00:00", "2026-11-22T10:15:30.000Z", id="a blank, no known zone"),
            pytest.param("2026-11-22T10:15:30.5+05:45", "2026-11-22T04:30:30.500Z", id="an odd zone"),
            pytest.param("0000-01-01T00:00:00Z", None, id="year 0"),
            pytest.param("10000-01-01T00:00:00Z", None, id="year 10000"),
            pytest.param("2026-02-30T00:00:00Z", None, id="no such day"),
            pytest.param("2026-11-22T24:00:00Z", None, id="no such hour"),
            pytest.param("2026-11-22T10:15:30+24:00", None, id="no such zone"),
            pytest.param("2026-11-22T10:15:30", None, id="no zone"),
            pytest.param("2026-11-22", None, id="a day"),
            pytest.param("２０２６-11-22T10:15:30Z", None, id="wide digits"),
            pytest.param("", None, id="nothing"),
            pytest.param("Infinity", None, id="infinity"),
            pytest.param("9" * 60_000, None, id="very long"),
            pytest.param("2026-11-22T10:15:30." + "9" * 50_000 + "Z", "2026-11-22T10:15:30.999Z", id="many digits"),
        ],
    )
    async def test_time_is_kept_within_bounds_or_refused(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, given: str, shown: str | None
    ) -> None:
        draft = {"target_id": bob.id, "client_id": "one", "body": "Hello"}
        await client.post("/messages", headers=ada.headers, json=draft)
        answer = await _mute(client, ada, bob, given)
        if shown is None:
            assert_problem(answer, 400, "validation_failed", field="muted_until")
            assert answer.json()["errors"][0]["code"] == "invalid"
        else:
            assert (answer.status_code, answer.json()["muted_until"]) == (200, shown)
            listed = (await client.get("/conversations", headers=ada.headers)).json()["items"]
            assert [each["muted_until"] for each in listed] == [shown]

    @pytest.mark.parametrize("given", [0, 1.5, True, [], {}, 1767225600])
    async def test_non_text_time_is_refused(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, given: object
    ) -> None:
        answer = await _mute(client, ada, bob, given)
        assert_problem(answer, 400, "validation_failed", field="muted_until")
        assert answer.json()["errors"][0]["code"] == "wrong_type"

    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            (datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC), "2026-11-22T10:15:30.000Z"),
            (datetime.min.replace(tzinfo=UTC), PAST),
            (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), FAR),
            ("0001-01-01T00:00:00Z", PAST),
        ],
    )
    async def test_msgpack_timestamp_is_accepted(
        self, client: httpx.AsyncClient, ada: Person, bob: Person, given: datetime | str, shown: str
    ) -> None:
        seconds = int(given.timestamp()) if isinstance(given, datetime) else 0
        native = msgspec.msgpack.Ext(-1, b"\0\0\0\0" + seconds.to_bytes(8, "big", signed=True))
        content = msgspec.msgpack.encode({"muted_until": native if isinstance(given, datetime) else given})
        headers = {**ada.headers, "Content-Type": MSGPACK}
        answer = await client.put(f"/conversations/{bob.id}", headers=headers, content=content)
        assert (answer.status_code, answer.json()["muted_until"]) == (200, shown)

    async def test_past_time_does_not_mute(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        await _mute(client, ada, bob, "0001-01-01T00:00:00Z")
        assert (await _mute(client, ada, bob, None)).json()["muted_until"] is None
