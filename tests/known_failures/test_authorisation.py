"""Failures of other projects with access control: forged receipts, former members, invitations, names with markup."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import httpx
import pytest

from messenger.container import Container
from messenger.errors import PeerNotFound, RateLimited
from messenger.limits import LIMITS
from messenger.testing import Factory
from tests.support.sockets import Realtime
from tests.support.tables import rows

MARKUP = "<img src=x onerror=alert(1)>"
READS = ("/profile", "/contacts", "/statuses", "/conversations", "/sync?cursor=e0&limit=200")


async def _state(container: Container) -> list[dict[str, Any]]:
    """Everything that a stranger could have changed: messages, memberships of conversations with messages, streams. As
    text: other tests leave rows that no Python value can hold.
    """
    return [
        *await rows(container, "SELECT messages::text FROM messages ORDER BY id"),
        *await rows(
            container,
            "SELECT members::text FROM members WHERE conversation_id IN (SELECT conversation_id FROM messages)"
            " ORDER BY conversation_id, user_id",
        ),
        *await rows(container, "SELECT user_id, position, name FROM events ORDER BY 1, 2"),
    ]


# --- acting upon what is another's ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stranger", "contact of both"])
async def test_cve_2023_42453_non_member_cannot_change_conversation(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container, kind: str
) -> None:
    """Synapse: receipts could be forged for any event. Here they are 404, over HTTP and over sockets, and change
    nothing.
    """
    ada, bob = await people.friends()
    mallory = await people.person()
    if kind == "contact of both":
        await people.befriend(mallory, ada)
        await people.befriend(mallory, bob)
    message = await people.message(ada, bob)
    async with realtime.wire(mallory) as wire:
        before = await _state(hosted)
        path = f"/messages/{message.id}"
        asked = [
            await http.post("/receipts", json={"target_id": bob.id, "read_seq": 1}, headers=mallory.headers),
            await http.get(path, headers=mallory.headers),
            await http.patch(path, json={"body": "forged"}, headers=mallory.headers),
            await http.delete(path, headers=mallory.headers),
            await http.delete(path, params={"for": "me"}, headers=mallory.headers),
        ]
        assert [answer.status_code for answer in asked] == [404] * len(asked)
        for number in (1, 2**40):
            reply = await wire.ask("receipt.set", target_id=ada.id, delivered_seq=number)
            assert reply["error"]["status"] == 404
        draft = {"target_id": bob.id, "client_id": "x", "body": "x", "reply_to": str(message.id)}
        refused = (await wire.ask("message.send", **draft))["error"]
        assert refused["status"] == (404 if kind == "contact of both" else 403)
        assert await _state(hosted) == before


# --- what one sees who belongs no more ------------------------------------------------------------


@pytest.mark.parametrize("end", ["unsubscribe", "block"])
async def test_cve_2024_53867_former_contact_receives_no_updates(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory, hosted: Container, end: str
) -> None:
    """Synapse: a new way to synchronise sent former members what the old one no longer did."""
    ada, bob = await people.friends()
    await people.message(bob, ada)
    mark = f"after-{secrets.token_hex(6)}"
    async with realtime.wire(ada) as hers:
        body = {"target_id": ada.id}
        (await http.post(f"/{end}", json=body, headers=bob.headers)).raise_for_status()
        await hers.event("contact.updated", state="none")
        await hers.settled()
        async with realtime.wire(bob) as his:
            await his.ask("presence.set", status="busy", status_text=mark)
            await his.ask("receipt.set", target_id=ada.id, read_seq=1)
            await his.ask("typing", target_id=ada.id)
            patch = {"status_text": f"{mark} again", "name": f"{mark} name"}
            (await http.put("/profile", json=patch, headers=bob.headers)).raise_for_status()
            await hosted.realtime.presence._pass()
            assert await hers.settled() == []
            shown = (await http.get(f"/users/{bob.id}", headers=ada.headers)).json()
        assert (shown["online"], shown["status"], shown["status_text"], shown["last_activity"]) == (
            False,
            None,
            None,
            None,
        )
    answers = {path: (await http.get(path, headers=ada.headers)).raise_for_status() for path in READS}
    assert str(bob.id) not in answers["/contacts"].text + answers["/statuses"].text
    assert answers["/conversations"].json()["items"][0]["target_receipt"] is None
    # A conversation of both shows the current name of the peer; the rest of a profile is for contacts.
    texts = "".join(answer.text for path, answer in answers.items() if path != "/conversations")
    assert f"{mark} again" not in texts


# --- what is another's key or invitation ----------------------------------------------------------


async def test_cve_2022_21706_ticket_opens_socket_of_issuing_device(
    realtime: Realtime, http: httpx.AsyncClient, people: Factory
) -> None:
    """Zulip: an invitation to one organisation let its holder into another. The one-time token here is a socket's
    ticket.
    """
    ada, bob = await people.people(2)
    ticket = (await http.post("/ws/ticket", headers=ada.headers)).json()["ticket"]
    # The header takes precedence over the ticket; the ticket is for Ada's device in any case.
    async with realtime.wire(bob, query=f"?ticket={ticket}", live=False) as wire:
        assert (await wire.receive())["device_id"] == str(bob.actor.device_id)
    async with realtime.wire(query=f"?ticket={ticket}", live=False) as wire:
        assert (await wire.receive())["device_id"] == str(ada.actor.device_id)


async def test_cve_2023_43796_devices_are_visible_only_to_owner(http: httpx.AsyncClient, people: Factory) -> None:
    """Synapse: information about devices revealed which users exist. Here no route names another user's device."""
    ada, bob = await people.friends()
    foreign = await http.delete(f"/devices/{ada.actor.device_id}", headers=bob.headers)
    nowhere = await http.delete("/devices/019ab1de-52f3-7c31-8a4e-0c1b2a3d4e5f", headers=bob.headers)
    assert (foreign.status_code, foreign.content) == (nowhere.status_code, nowhere.content)
    assert foreign.status_code == 404
    asked = [await http.get(path, headers=bob.headers) for path in (*READS, "/devices", f"/users/{ada.id}")]
    assert str(ada.actor.device_id) not in "".join(answer.text for answer in asked)


async def test_cve_2025_61672_junk_in_a_safe_leaves_other_safes_readable(
    http: httpx.AsyncClient, people: Factory
) -> None:
    """Synapse: unvalidated device keys broke what others fetched. Here the store of keys is the safe."""
    ada, bob = await people.friends()
    good = {
        "algorithm": "AES-256-GCM",
        "kdf": {"name": "hkdf"},
        "nonce": base64.b64encode(bytes(12)).decode(),
        "ciphertext": base64.b64encode(bytes(range(48))).decode(),
    }
    for person in (ada, bob):
        (await http.post("/e2e/secret_key", json=good, headers=person.headers)).raise_for_status()
    junk: list[Any] = [
        None,
        1,
        -1,
        1e308,
        True,
        "",
        "\0",
        "\ud7ff" * 9,
        "x" * 70_000,
        [],
        [[]] * 99,
        {},
        {"a": {"b": 1}},
    ]
    for field in (*good, "mac", "key_id"):
        for value in junk:
            if (field, value) in (("mac", None), ("key_id", None)):
                continue
            answer = await http.post("/e2e/secret_key", json={**good, field: value}, headers=ada.headers)
            assert answer.status_code == (413 if value == "x" * 70_000 else 422), (field, value)
    for person in (ada, bob):
        kept = (await http.get("/e2e/secret_key", headers=person.headers)).raise_for_status().json()
        assert ({**kept, **good}, kept["version"]) == (kept, 1)


# --- names that are markup ------------------------------------------------------------------------


async def test_cve_2026_24050_name_with_markup_is_returned_as_data(http: httpx.AsyncClient, people: Factory) -> None:
    """Zulip: a name with markup ran as a script for others. Here names are sent as JSON that no browser may sniff."""
    ada, bob = await people.friends()
    patch = {"name": MARKUP, "about": MARKUP, "status_text": MARKUP}
    (await http.put("/profile", json=patch, headers=ada.headers)).raise_for_status()
    (await http.put(f"/contacts/{ada.id}", json={"alias": MARKUP}, headers=bob.headers)).raise_for_status()
    await people.message(ada, bob, MARKUP)
    shows = [f"/users/{ada.id}", f"/history/{ada.id}", *READS[1:]]
    for path in shows:
        answer = (await http.get(path, headers={**bob.headers, "Accept": "text/html"})).raise_for_status()
        assert MARKUP in answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


# --- finding out who there is ---------------------------------------------------------------------


async def test_whatsapp_2025_users_are_found_only_by_full_username(http: httpx.AsyncClient, people: Factory) -> None:
    """Contact discovery by list or prefix exposed 3.5 thousand million accounts (arXiv 2511.20252)."""
    ada, bob = await people.person(), await people.person()
    name = ada.username
    assert (await http.get("/users", params={"username": name}, headers=bob.headers)).status_code == 200
    for guess in (name[:-1], f"{name}%", f"{name[:-1]}_", "%", "*", f"{name},{bob.username}", f" {name}"):
        answer = await http.get("/users", params={"username": guess}, headers=bob.headers)
        assert answer.status_code == 404, guess
    # No route accepts a list of users, or returns a page of all users.
    assert (await http.get("/users", headers=bob.headers)).status_code == 400


async def test_whatsapp_2025_look_up_limit_applies_to_hits_and_misses(limited: Container) -> None:
    """Each unrelated user counts once; beyond the bound all further look-ups get the same answer."""
    make = Factory(limited)
    ada, bob = await make.people(2)
    find = limited.services.profiles.find
    for number in range(LIMITS["look_up"].burst):
        with pytest.raises(PeerNotFound):
            await find(ada.actor, username=f"nobody{number}")
    with pytest.raises(RateLimited):
        await find(ada.actor, target_id=bob.id)
    with pytest.raises(RateLimited):
        await find(ada.actor, username=bob.username)
    with pytest.raises(RateLimited):
        await find(ada.actor, username="nobody-else")
