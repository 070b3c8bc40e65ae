"""Loads the state of an account and a cursor from which the stream can continue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

import msgspec

from messenger.client.errors import ApiError
from messenger.client.state import State
from messenger.schemas.accounts import DeviceView
from messenger.schemas.admission import InvitationView
from messenger.schemas.groups import MemberView
from messenger.schemas.messages import ConversationPage, ConversationView, HistoryView
from messenger.schemas.users import ContactView, ProfileView, StatusView

T = TypeVar("T")


class Loaded(msgspec.Struct, frozen=True):
    """A state that includes every event up to `cursor`. It may include later ones: applying them again is harmless."""

    state: State
    cursor: str


class LoadCalls(Protocol):
    """The API calls that `load` uses."""

    async def profile(self) -> ProfileView: ...
    def contacts(self) -> AsyncIterator[ContactView]: ...
    def devices(self) -> AsyncIterator[DeviceView]: ...
    async def statuses(self) -> list[StatusView]: ...
    async def conversation_page(self, *, cursor: str | None = None, limit: int = 200) -> ConversationPage: ...
    async def history(self, target_id: int, *, limit: int = 50) -> HistoryView: ...
    def history_pages(self, target_id: int) -> AsyncIterator[HistoryView]: ...
    def members(self, group_id: int) -> AsyncIterator[MemberView]: ...
    def invitations(self) -> AsyncIterator[InvitationView]: ...


async def load(server: LoadCalls, *, messages: int | None = 0, members: bool = False) -> Loaded:
    """Load the state with the newest `messages` messages of each conversation (None: all of them).

    `members`: also those of every group. Raises `ClientError`.
    """
    # Get the cursor first: everything loaded after it is newer, so that no event is missed.
    first = await server.conversation_page()
    conversations = await _conversations(server, first)
    profile, statuses, contacts, devices, invitations = await asyncio.gather(
        server.profile(),
        server.statuses(),
        _all(server.contacts()),
        _all(server.devices()),
        _all(server.invitations()),
    )
    state = State.load(profile, contacts=contacts, conversations=conversations, devices=devices, statuses=statuses)
    state.add_invitations(invitations)
    for target_id in list(state.conversations):
        await load_conversation(server, state, target_id, messages=messages, members=members)
    return Loaded(state, first.cursor)


async def load_conversation(
    server: LoadCalls, state: State, target_id: int, *, messages: int | None = 0, members: bool = False
) -> None:
    """Add messages of a conversation to a state, and the members of a group; also for a group that you have joined.

    A group that you leave meanwhile is skipped. Raises `ClientError`.
    """
    try:
        if messages is None:
            async for page in server.history_pages(target_id):
                state.add_history(target_id, page)
        elif messages > 0:
            state.add_history(target_id, await server.history(target_id, limit=min(200, messages)))
        group = state.groups.get(target_id)
        if members and group is not None:
            state.add_members(target_id, await _all(server.members(target_id)), since=group.version)
    except ApiError as error:
        if error.code not in {"peer_not_found", "not_permitted"} or target_id not in state.groups:
            raise


async def _conversations(server: LoadCalls, page: ConversationPage) -> list[ConversationView]:
    """All conversations, latest first. A conversation that gets a message meanwhile moves to an earlier page: reload
    from the first page up to the first unchanged conversation, until a pass finds no change.
    """
    found = {view.target.id: view for view in page.items}
    if page.next is None:
        return list(found.values())
    while page.next is not None:
        page = await server.conversation_page(cursor=page.next)
        found.update((view.target.id, view) for view in page.items)
    moved = True
    while moved:
        moved = False
        cursor: str | None = None
        while True:
            page = await server.conversation_page(cursor=cursor)
            still = [view for view in page.items if _is_same(found.get(view.target.id), view)]
            moved = moved or len(still) < len(page.items)
            found.update((view.target.id, view) for view in page.items)
            cursor = page.next
            if still or cursor is None:
                break
    return list(found.values())


def _is_same(known: ConversationView | None, view: ConversationView) -> bool:
    return known is not None and known.last_seq == view.last_seq


async def _all(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]
