"""The handshake: who may open a socket, and how refusals are answered."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from messenger.container import Container
from messenger.security.tokens import token_hash
from messenger.testing import Factory, Person
from tests.support.sockets import Realtime


async def refusal(realtime: Realtime, person: Person | None = None, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and problem of a refused handshake."""
    with pytest.raises(InvalidStatus) as caught:
        async with realtime.wire(person, live=False, **options):
            pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status_code, json.loads(response.body)


async def ticket(realtime: Realtime, person: Person) -> str:
    async with httpx.AsyncClient(base_url=realtime.http) as client:
        answer = await client.post("/ws/ticket", headers=person.headers)
    assert answer.status_code == 201
    assert answer.json()["expires_in"] == 30
    text: str = answer.json()["ticket"]
    return text


class TestTokenHandshake:
    async def test_welcome_comes_first_with_current_cursor(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        now = (await realtime.sync(ada)).json()["cursor"]
        async with realtime.wire(ada, live=False) as wire:
            assert await wire.receive() == {
                "type": "welcome",
                "cursor": now,
                "device_id": str(ada.actor.device_id),
                "heartbeat": 30.0,
            }

    async def test_welcome_repeats_given_cursor(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        async with realtime.wire(ada, cursor="e0", live=False) as wire:
            assert (await wire.receive())["cursor"] == "e0"

    @pytest.mark.parametrize("value", ["Bearer nobody", "Basic abc", "Bearer", ""])
    async def test_bad_token_handshake_is_401(self, realtime: Realtime, value: str) -> None:
        status, problem = await refusal(realtime, headers={"Authorization": value})
        assert (status, problem["code"]) == (401, "unauthenticated")

    async def test_handshake_without_token_is_401(self, realtime: Realtime) -> None:
        assert (await refusal(realtime))[0] == 401

    async def test_handshake_of_signed_out_device_is_401(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        await hosted.services.devices.logout(ada.actor)
        assert (await refusal(realtime, ada))[0] == 401

    @pytest.mark.parametrize("cursor", ["", "e", "e-1", "x1", "e1e", "e9999999999999999", "e1%00"])
    async def test_invalid_cursor_handshake_is_400(self, realtime: Realtime, people: Factory, cursor: str) -> None:
        status, problem = await refusal(realtime, await people.person(), cursor=cursor)
        assert (status, problem["errors"][0]["field"]) == (400, "cursor")


class TestTicketHandshake:
    async def test_ticket_opens_single_socket(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        query = f"?ticket={await ticket(realtime, ada)}"
        async with realtime.wire(query=query, live=False) as wire:
            assert (await wire.receive())["device_id"] == str(ada.actor.device_id)
        assert (await refusal(realtime, query=query))[0] == 401

    async def test_newer_ticket_invalidates_older_ticket(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        older, _ = await ticket(realtime, ada), await ticket(realtime, ada)
        assert (await refusal(realtime, query=f"?ticket={older}"))[0] == 401

    async def test_expired_ticket_is_401(self, realtime: Realtime, people: Factory, hosted: Container) -> None:
        ada = await people.person()
        async with hosted.uow.command() as uow:
            await uow.connections.issue_ticket(ada.actor, ticket_hash=token_hash("late"), expires_at=uow.now)
        assert (await refusal(realtime, query="?ticket=late"))[0] == 401

    async def test_ticket_of_signed_out_device_is_401(
        self, realtime: Realtime, people: Factory, hosted: Container
    ) -> None:
        ada = await people.person()
        text = await ticket(realtime, ada)
        await hosted.services.devices.logout(ada.actor)
        assert (await refusal(realtime, query=f"?ticket={text}"))[0] == 401

    @pytest.mark.parametrize("text", ["", "x", "x" * 1000, "%00", "%ff"])
    async def test_forged_ticket_is_401(self, realtime: Realtime, text: str) -> None:
        assert (await refusal(realtime, query=f"?ticket={text}"))[0] == 401

    async def test_ticket_handshake_resumes_at_cursor(self, realtime: Realtime, people: Factory) -> None:
        ada = await people.person()
        query = f"?ticket={await ticket(realtime, ada)}&cursor=e0"
        async with realtime.wire(query=query, live=False) as wire:
            assert (await wire.next("event", "device.added"))["cursor"] == "e1"


class TestOriginHandshake:
    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1.evil.example"]
    )
    async def test_foreign_origin_is_403(self, realtime: Realtime, people: Factory, origin: str) -> None:
        ada = await people.person()
        status, problem = await refusal(realtime, ada, headers={"Origin": origin})
        assert (status, problem["code"]) == (403, "origin_not_allowed")

    async def test_ticket_refused_by_origin_stays_valid(self, realtime: Realtime, people: Factory) -> None:
        query = f"?ticket={await ticket(realtime, await people.person())}"
        assert (await refusal(realtime, query=query, headers={"Origin": "http://evil.example"}))[0] == 403
        async with realtime.wire(query=query):
            pass

    async def test_own_origin_with_prefix_is_403(self, realtime: Realtime, people: Factory) -> None:
        host = realtime.http.removeprefix("http://")
        for origin in (f"http://evil{host}", f"http://evil.{host}", f"http://x@{host}"):
            status, problem = await refusal(realtime, await people.person(), headers={"Origin": origin})
            assert (status, problem["code"]) == (403, "origin_not_allowed")

    async def test_own_origin_is_accepted(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person(), headers={"Origin": realtime.http}):
            pass


class TestHandshakeQuery:
    @pytest.mark.parametrize("query", ["?curser=e0", "?cursor=e0&x", "?TICKET=x"])
    async def test_unknown_parameter_is_400(self, realtime: Realtime, people: Factory, query: str) -> None:
        status, problem = await refusal(realtime, await people.person(), query=query)
        assert (status, problem["code"]) == (400, "unknown_field")


class TestSubprotocol:
    async def test_missing_subprotocol_means_json(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person()) as wire:
            assert wire.connection.subprotocol is None

    @pytest.mark.parametrize("name", ["messenger.json", "messenger.msgpack"])
    async def test_known_subprotocol_is_selected(self, realtime: Realtime, people: Factory, name: str) -> None:
        async with realtime.wire(await people.person(), subprotocols=["soap", name]) as wire:
            assert wire.connection.subprotocol == name

    async def test_unknown_subprotocol_is_not_selected(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person(), subprotocols=["soap"]) as wire:
            assert wire.connection.subprotocol is None

    async def test_no_compression_is_agreed(self, realtime: Realtime, people: Factory) -> None:
        async with realtime.wire(await people.person(), compression="deflate") as wire:
            assert wire.connection.response is not None
            assert "Sec-WebSocket-Extensions" not in wire.connection.response.headers


async def test_plain_http_is_426(realtime: Realtime, people: Factory) -> None:
    ada = await people.person()
    async with httpx.AsyncClient(base_url=realtime.http) as client:
        answer = await client.get("/ws", headers=ada.headers)
    assert (answer.status_code, answer.json()["code"], answer.headers["Upgrade"]) == (
        426,
        "upgrade_required",
        "websocket",
    )


@pytest.mark.parametrize("path", ["/nothing", "/profile", "/ws/ticket"])
async def test_path_without_socket_is_404(realtime: Realtime, people: Factory, path: str) -> None:
    ada = await people.person()
    with pytest.raises(InvalidStatus) as caught:
        async with connect(realtime.http.replace("http", "ws", 1) + path, additional_headers=ada.headers):
            pass
    response = caught.value.response
    problem = json.loads(response.body)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
    assert (problem["code"], problem["status"]) == ("not_found", 404)
