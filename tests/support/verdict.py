"""The final check: ends all faults, drains every device, and compares each with a fresh login."""

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
from messenger.testing.recorder import Findings, Heard, View, check
from tests.support.device import Device, heard_of, history_view, place
from tests.support.group_verdict import add, check_groups, check_state
from tests.support.population import Member, Population
from tests.support.stored_groups import StoredGroups, read_groups

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


async def judge(population: Population) -> Findings:
    """Check everything that must hold; violations are added to the users' `problems`, and to the findings."""
    await _heal(population)
    async with AsyncExitStack() as stack:
        clients = [await population.fresh_client(member, stack) for member in population.members]
        await _settle(population)
        await _part(population, clients)
        await await_proofs(population)
        fresh = await _load(population, clients)
        stored = await read_stored(population)
        left_out = stored.left_out()
        now = timestamp(datetime.now(UTC))
        for each in fresh:
            for device in each.member.signed_in:
                skipped = left_out.get(device.user_id, frozenset())
                population.problems += _compare_streams(population, device, each, skipped)
                population.problems += _compare_states(device, each, now, receipts=population.stay_contacts)
        await _compare_replays(population, fresh, now)
        for each in fresh:
            await _compare_presence(population, each)
        views = [_stream(population, each, left_out) for each in fresh]
        views += [await _history(population, each) for each in fresh]
    population.problems += [problem for device in population.devices for problem in device.problems]
    return found(population, stored, fresh=fresh, views=views)


async def read_stored(population: Population) -> StoredGroups:
    """The groups of these users in the database, while nothing changes."""
    users = [member.id for member in population.members]
    return await read_groups(population.fetch, users) if population.has_groups else StoredGroups()


def found(
    population: Population, stored: StoredGroups, *, fresh: Iterable[Fresh] = (), views: Iterable[View] = ()
) -> Findings:
    """What was sent and changed, compared with the database, all devices, and these further views and states."""
    left_out = stored.left_out()
    devices = [device.view(left_out.get(device.user_id, frozenset())) for device in population.devices]
    findings = check(population.recorder.history, [*devices, *views, stored.view])
    add(findings, check_groups(stored, population.changes))
    states = [(device.name, device.state) for device in population.devices if not device.signed_out]
    states += [(f"fresh/{each.member.id}", each.state) for each in fresh]
    for name, state in states:
        findings.diverged += check_state(name, state, stored)
    return findings


async def stored(population: Population) -> Findings:
    """The server's data as fresh logins see it, compared with what was sent and changed."""
    async with AsyncExitStack() as stack:
        clients = [await population.fresh_client(member, stack) for member in population.members]
        groups = await read_stored(population)
        fresh = [
            await _fresh(population, member, client) for member, client in zip(population.members, clients, strict=True)
        ]
        views = [_stream(population, each, groups.left_out()) for each in fresh]
        views += [await _history(population, each) for each in fresh]
    findings = check(population.recorder.history, [*views, groups.view])
    add(findings, check_groups(groups, population.changes))
    for each in fresh:
        findings.diverged += check_state(f"fresh/{each.member.id}", each.state, groups)
    return findings


async def _heal(population: Population) -> None:
    population.heal()
    for device in population.devices:
        device.proxy.heal()
        if device.replaced:
            await device.listen()


async def _settle(population: Population) -> None:
    """Send half of the messages with unknown outcome again; the rest stays unknown."""
    for client_id in population.recorder.unsettled()[::2]:
        draft = population.drafts[client_id]
        device = next(device for device in draft.sender.signed_in if device not in population.leaving)
        await population.attempt(device, "settle", population.send(device, draft, within=_SECONDS))


async def _part(population: Population, clients: list[Client]) -> None:
    """Exactly the signed-out devices have received their sign-out."""
    for member, client in zip(population.members, clients, strict=True):
        there = {device.id async for device in client.devices()}
        for device in member.devices:
            if device.id not in there:
                await device.until(lambda device=device: device.signed_out, "its end")  # type: ignore[misc]
                if device not in population.leaving:
                    population.problems.append(f"{device.name} was signed out by nobody")
            elif device.signed_out:
                population.problems.append(f"{device.name} was told that it is signed out, and is not")


async def await_proofs(population: Population) -> None:
    """Every message that a device of its recipient has received counts as delivered."""
    users = [member.id for member in population.members]
    late = """
        SELECT me.user_id, me.delivered_seq, due.seq FROM members AS me, LATERAL (SELECT max(m.seq) AS seq
            FROM messages AS m WHERE m.conversation_id = me.conversation_id AND m.sender_id <> me.user_id) AS due
        WHERE me.user_id = ANY ($1) AND me.delivered_seq < due.seq
    """
    try:
        async with asyncio.timeout(_SECONDS):
            while await population.fetch(late, users):
                # The last receipt is only announced by an event, which may already be there.
                await asyncio.sleep(0.02)
    except TimeoutError:
        rows = [tuple(row) for row in await population.fetch(late, users)]
        population.problems.append(f"received, and not told as delivered (user, delivered, due): {rows}")


async def _load(population: Population, clients: list[Client]) -> list[Fresh]:
    """Fresh states at a moment in which no stream grows, with every device listening."""
    for _ in range(_TRIES):
        fresh = [
            await _fresh(population, member, client) for member, client in zip(population.members, clients, strict=True)
        ]
        for each in fresh:
            await asyncio.gather(*(device.reach(each.end) for device in each.member.signed_in))
        await asyncio.gather(*(device.load_groups() for each in fresh for device in each.member.signed_in))
        ends = [place((await each.client.sync())[1]) for each in fresh]
        devices = [(each.end, device) for each in fresh for device in each.member.signed_in]
        if ends == [each.end for each in fresh] and all(device.at == end for end, device in devices):
            return fresh
    raise AssertionError("the streams don't come to rest")


async def _fresh(population: Population, member: Member, client: Client) -> Fresh:
    loaded = await client.load_state(messages=None, members=population.has_groups)
    return Fresh(member, client, loaded, await _events(client))


async def _events(client: Client) -> list[Event]:
    """The stream from its beginning, by requests."""
    events: list[Event] = []
    cursor, more = "e0", True
    while more:
        page, cursor, more = await client.sync(cursor, limit=37)
        events += page
    return events


# --- comparing ------------------------------------------------------------------------------------


def _compare_streams(population: Population, device: Device, fresh: Fresh, left_out: frozenset[int]) -> Iterator[str]:
    """Compare a device's log with the stream. Of groups that the user has left, and may be in again, some events were
    delivered then and are not now, or the other way round.
    """
    expected = {each.position: each for each in _heard(population, fresh) if each.position > device.start}
    mine = {each.position: each for each in device.heard}
    for position in sorted({*expected, *mine}):
        one, other = mine.get(position), expected.get(position)
        if one != other and not (position in left_out and None in {one, other}):
            yield f"{device.name} heard {one} where the stream has {other} ({len(mine)} and {len(expected)} in all)"
            return


def _compare_states(device: Device, fresh: Fresh, now: str, *, receipts: bool) -> Iterator[str]:
    """Compare a device's state with that of a fresh login."""
    # Receipts of a time without contact are only part of a load.
    mine, theirs = (state.snapshot(at=now, receipts=receipts) for state in (device.state, fresh.state))
    yield from _differences(device.name, mine, theirs)


async def _compare_replays(population: Population, fresh: list[Fresh], now: str) -> None:
    """Devices that were there from the beginning have the state of a complete replay."""
    for each in fresh:
        first = [device for device in each.member.signed_in if device.holds_all]
        for device in first:
            replayed = State(each.member.id)
            for event in each.events:
                replayed.apply(event)
            while replayed.joined:
                await each.client.load_conversation(replayed, replayed.joined.pop(), messages=None, members=True)
            mine, theirs = (
                state.snapshot(at=now, receipts=population.stay_contacts) for state in (device.state, replayed)
            )
            # No event shows the profile and the devices before the first event.
            for part in sorted({*mine} - {"profile", "devices"}):
                population.problems += _differences(f"{device.name} and a replay: {part}", mine[part], theirs[part])


def _heard(population: Population, fresh: Fresh) -> tuple[Heard, ...]:
    return tuple(heard_of(fresh.member.id, event, population.conversation) for event in fresh.events)


def _differences(where: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _differences(f"{where}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield f"{where}: {one!r:.300} and fresh {other!r:.300}"


async def _compare_presence(population: Population, fresh: Fresh) -> None:
    """Presence signals keep statuses correct if none was lost."""
    if population.signals_get_lost:
        return
    for device in fresh.member.signed_in:
        expected = _shown(fresh.state, await fresh.client.statuses())
        try:
            async with asyncio.timeout(_SECONDS):
                while _shown(device.state, device.state.presence.values()) != expected:
                    await asyncio.sleep(0.02)
                    expected = _shown(fresh.state, await fresh.client.statuses())
        except TimeoutError:
            yours = _shown(device.state, device.state.presence.values())
            population.problems.append(f"{device.name} believes {yours}, true is {expected}")


def _shown(state: State, statuses: Iterable[StatusView]) -> list[tuple[int, str, str, bool]]:
    """Presence of mutual contacts; of former ones a last signal, that they are offline, may be known."""
    mutual = {contact.user.id for contact in state.contacts.values() if contact.state == "mutual"}
    return sorted(
        (each.user_id, each.status, each.status_text, each.online) for each in statuses if each.user_id in mutual
    )


def _stream(population: Population, fresh: Fresh, left_out: dict[int, frozenset[int]]) -> View:
    user_id = fresh.member.id
    skipped = left_out.get(user_id, frozenset())
    return View(f"the stream of {user_id}", user_id, _heard(population, fresh), left_out=skipped)


async def _history(population: Population, fresh: Fresh) -> View:
    try:
        messages = await fresh.client.whole_history(fresh.member.partner.id)
    except ClientError as error:
        population.problems.append(f"the history can't be read: {error}")
        messages = []
    return history_view(f"the history of {fresh.member.id}", fresh.member.id, messages)


def shown(population: Population, findings: Findings) -> dict[str, Any]:
    """The figures of a run."""
    repeats = sum(device.repeats for device in population.devices)
    cuts = sum(device.proxy.cuts for device in population.devices)
    counts = msgspec.to_builtins(findings)
    return {
        "devices": len(population.devices),
        "events": sum(len(device.heard) for device in population.devices),
        "cuts": cuts,
        "repeats": repeats,
        "acknowledged": findings.acknowledged,
        "recovered": len(counts["recovered"]),
    }
