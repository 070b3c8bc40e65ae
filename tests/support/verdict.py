"""At the end: heal, drain every device, and compare each with a fresh login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec

from messenger.client import Client, ClientError, Event, Loaded, State
from messenger.schemas.types import timestamp
from messenger.schemas.users import StatusView
from messenger.testing.recorder import Findings, View, check
from tests.support.device import Device, heard_of, history_view, place
from tests.support.population import Crowd, Member

_TRIES = 50
_SECONDS = 5.0


class Fresh:
    """A fresh login of a member: the state of a new device."""

    def __init__(self, member: Member, client: Client, loaded: Loaded, events: list[Event]) -> None:
        self.member = member
        self.client = client
        self.state = loaded.state
        self.events = events

    @property
    def end(self) -> int:
        """The end of the stream."""
        return place(self.events[-1].cursor) if self.events else 0


async def judge(crowd: Crowd) -> Findings:
    """Check everything that must hold; violations are added to the users' `problems`, and to the findings."""
    await _heal(crowd)
    async with AsyncExitStack() as stack:
        clients = [await crowd.fresh_client(member, stack) for member in crowd.members]
        await _settle(crowd)
        await _part(crowd, clients)
        await await_proofs(crowd)
        fresh = await _load(crowd, clients)
        now = timestamp(datetime.now(UTC))
        for each in fresh:
            for device in each.member.signed_in:
                crowd.problems += _compare(device, each, now, receipts=crowd.stay_contacts)
        _compare_replays(crowd, fresh, now)
        for each in fresh:
            await _compare_presence(crowd, each)
        views = [device.view for device in crowd.devices] + [_stream(each) for each in fresh]
        views += [await _history(crowd, each) for each in fresh]
    crowd.problems += [problem for device in crowd.devices for problem in device.problems]
    return check(crowd.recorder.history, views)


async def stored(crowd: Crowd) -> Findings:
    """The server's data as fresh logins see it, compared with what was sent."""
    async with AsyncExitStack() as stack:
        clients = [await crowd.fresh_client(member, stack) for member in crowd.members]
        fresh = [await _fresh(member, client) for member, client in zip(crowd.members, clients, strict=True)]
        views = [_stream(each) for each in fresh] + [await _history(crowd, each) for each in fresh]
    return check(crowd.recorder.history, views)


async def _heal(crowd: Crowd) -> None:
    crowd.heal()
    for device in crowd.devices:
        device.proxy.heal()
        if device.replaced:
            await device.listen()


async def _settle(crowd: Crowd) -> None:
    """Send half of the messages with unknown outcome again; the rest stays unknown."""
    for client_id in crowd.recorder.unsettled()[::2]:
        draft = crowd.drafts[client_id]
        device = next(device for device in draft.sender.signed_in if device not in crowd.leaving)
        await crowd.attempt(device, "settle", crowd.send(device, draft, within=_SECONDS))


async def _part(crowd: Crowd, clients: list[Client]) -> None:
    """A signed-out device knows it, and no other device believes so."""
    for member, client in zip(crowd.members, clients, strict=True):
        there = {device.id async for device in client.devices()}
        for device in member.devices:
            if device.id not in there:
                await device.until(lambda device=device: device.signed_out, "its end")  # type: ignore[misc]
                if device not in crowd.leaving:
                    crowd.problems.append(f"{device.name} was signed out by nobody")
            elif device.signed_out:
                crowd.problems.append(f"{device.name} was told that it is signed out, and is not")


async def await_proofs(crowd: Crowd) -> None:
    """Every message that a device of its recipient has received counts as delivered."""
    users = [member.id for member in crowd.members]
    late = """
        SELECT me.user_id, me.delivered_seq, due.seq FROM members AS me, LATERAL (SELECT max(m.seq) AS seq
            FROM messages AS m WHERE m.conversation_id = me.conversation_id AND m.sender_id <> me.user_id) AS due
        WHERE me.user_id = ANY ($1) AND me.delivered_seq < due.seq
    """
    try:
        async with asyncio.timeout(_SECONDS):
            while await crowd.fetch(late, users):
                # The last receipt is only announced by an event, which may already be there.
                await asyncio.sleep(0.02)
    except TimeoutError:
        rows = [tuple(row) for row in await crowd.fetch(late, users)]
        crowd.problems.append(f"received, and not told as delivered (user, delivered, due): {rows}")


async def _load(crowd: Crowd, clients: list[Client]) -> list[Fresh]:
    """Fresh states at a moment in which no stream grows, with every device listening."""
    for _ in range(_TRIES):
        fresh = [await _fresh(member, client) for member, client in zip(crowd.members, clients, strict=True)]
        for each in fresh:
            await asyncio.gather(*(device.reach(each.end) for device in each.member.signed_in))
        ends = [place((await each.client.sync())[1]) for each in fresh]
        devices = [(each.end, device) for each in fresh for device in each.member.signed_in]
        if ends == [each.end for each in fresh] and all(device.at == end for end, device in devices):
            return fresh
    raise AssertionError("the streams don't come to rest")


async def _fresh(member: Member, client: Client) -> Fresh:
    return Fresh(member, client, await client.load_state(messages=None), await _events(client))


async def _events(client: Client) -> list[Event]:
    """The stream from its beginning, by requests."""
    events: list[Event] = []
    cursor, more = "e0", True
    while more:
        page, cursor, more = await client.sync(cursor, limit=37)
        events += page
    return events


# --- comparing ------------------------------------------------------------------------------------


def _compare(device: Device, fresh: Fresh, now: str, *, receipts: bool) -> Iterator[str]:
    """Compare a device's log with the stream, and its state with that of a fresh login."""
    told = [heard_of(device.user_id, event) for event in fresh.events[device.start :]]
    if device.heard != told:
        pairs = zip(device.heard, told, strict=False)
        where = next((index for index, (one, other) in enumerate(pairs) if one != other), len(told))
        yield (
            f"{device.name} heard {device.heard[where : where + 3]} ({len(device.heard)} in all) where the stream has"
            f" {told[where : where + 3]} ({len(told)})"
        )
    # Receipts of a time without contact are only part of a load.
    mine, theirs = (state.snapshot(at=now, receipts=receipts) for state in (device.state, fresh.state))
    yield from _differences(device.name, mine, theirs)


def _compare_replays(crowd: Crowd, fresh: list[Fresh], now: str) -> None:
    """Devices that were there from the beginning have the state of a complete replay."""
    for each in fresh:
        first = [device for device in each.member.signed_in if device.holds_all]
        for device in first:
            replayed = State(each.member.id)
            for event in each.events:
                replayed.apply(event)
            mine, theirs = (state.snapshot(at=now, receipts=crowd.stay_contacts) for state in (device.state, replayed))
            # No event shows the profile and the devices before the first event.
            for part in sorted({*mine} - {"profile", "devices"}):
                crowd.problems += _differences(f"{device.name} and a replay: {part}", mine[part], theirs[part])


def _differences(where: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _differences(f"{where}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield f"{where}: {one!r:.300} and fresh {other!r:.300}"


async def _compare_presence(crowd: Crowd, fresh: Fresh) -> None:
    """Signals keep statuses correct, where none was lost."""
    if crowd.signals_get_lost:
        return
    for device in fresh.member.signed_in:
        told = _shown(fresh.state, await fresh.client.statuses())
        try:
            async with asyncio.timeout(_SECONDS):
                while _shown(device.state, device.state.presence.values()) != told:
                    await asyncio.sleep(0.02)
                    told = _shown(fresh.state, await fresh.client.statuses())
        except TimeoutError:
            yours = _shown(device.state, device.state.presence.values())
            crowd.problems.append(f"{device.name} believes {yours}, true is {told}")


def _shown(state: State, statuses: Iterable[StatusView]) -> list[tuple[int, str, str, bool]]:
    """Presence of mutual contacts; of former ones a last signal, that they are offline, may be known."""
    mutual = {contact.user.id for contact in state.contacts.values() if contact.state == "mutual"}
    return sorted(
        (each.user_id, each.status, each.status_text, each.online) for each in statuses if each.user_id in mutual
    )


def _stream(fresh: Fresh) -> View:
    name = f"the stream of {fresh.member.id}"
    return View(name, fresh.member.id, tuple(heard_of(fresh.member.id, event) for event in fresh.events))


async def _history(crowd: Crowd, fresh: Fresh) -> View:
    try:
        messages = await fresh.client.whole_history(fresh.member.partner.id)
    except ClientError as error:
        crowd.problems.append(f"the history can't be read: {error}")
        messages = []
    return history_view(f"the history of {fresh.member.id}", fresh.member.id, messages)


def shown(crowd: Crowd, findings: Findings) -> dict[str, Any]:
    """The figures of a run."""
    repeats = sum(device.repeats for device in crowd.devices)
    cuts = sum(device.proxy.cuts for device in crowd.devices)
    counts = msgspec.to_builtins(findings)
    return {
        "devices": len(crowd.devices),
        "events": sum(len(device.heard) for device in crowd.devices),
        "cuts": cuts,
        "repeats": repeats,
        "acknowledged": findings.acknowledged,
        "recovered": len(counts["recovered"]),
    }
