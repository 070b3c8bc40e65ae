"""Calls for contacts, statuses and other users."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from messenger.client.calls import Calls
from messenger.client.http import Request
from messenger.schemas.users import (
    AliasDraft,
    ConfirmDraft,
    ContactPage,
    ContactView,
    PersonView,
    RelationView,
    StatusesView,
    StatusView,
    SubscribeDraft,
    TargetDraft,
    UsersView,
    UserView,
)


class PeopleCalls(Calls):
    """Contacts and users."""

    async def contacts(self, *, state: str | None = None) -> AsyncIterator[ContactView]:
        """Iterate over all contacts, or those in one state, by ascending user id; loads pages on demand."""
        cursor: str | None = None
        while True:
            page = await self.contact_page(state=state, cursor=cursor)
            for contact in page.items:
                yield contact
            cursor = page.next
            if cursor is None:
                return

    async def contact_page(
        self, *, state: str | None = None, cursor: str | None = None, limit: int = 200
    ) -> ContactPage:
        """One page of contacts."""
        params = {"limit": limit, **({"state": state} if state else {}), **({"cursor": cursor} if cursor else {})}
        return await self._http.call(Request(method="GET", path="/contacts", params=params), ContactPage)

    async def subscribe(self, target_id: int, message: str | None = None) -> RelationView:
        """Request mutual contact."""
        return await self._change("/subscribe", SubscribeDraft(target_id=target_id, message=message), keyed=True)

    async def confirm(self, target_id: int, *, accept: bool = True) -> RelationView:
        """Accept or decline a contact request. Raises `ApiError`: `no_pending_request`."""
        return await self._change("/confirm_subscribe", ConfirmDraft(target_id=target_id, accept=accept), keyed=True)

    async def unsubscribe(self, target_id: int) -> RelationView:
        """Remove a contact, or withdraw a request."""
        return await self._change("/unsubscribe", TargetDraft(target_id=target_id))

    async def block(self, target_id: int) -> RelationView:
        """Block a user."""
        return await self._change("/block", TargetDraft(target_id=target_id))

    async def unblock(self, target_id: int) -> RelationView:
        """Unblock a user."""
        return await self._change("/unblock", TargetDraft(target_id=target_id))

    async def _change(self, path: str, draft: msgspec.Struct, *, keyed: bool = False) -> RelationView:
        return await self._http.call(Request(method="POST", path=path, body=draft, keyed=keyed), RelationView)

    async def set_alias(self, user_id: int, alias: str | None) -> ContactView:
        """Set a private alias for a contact; None removes it."""
        request = Request(method="PUT", path=f"/contacts/{user_id}", body=AliasDraft(alias=alias))
        return await self._http.call(request, ContactView)

    async def statuses(self) -> list[StatusView]:
        """The statuses of all mutual contacts, across pages."""
        statuses: list[StatusView] = []
        params: dict[str, str | int] = {}
        while True:
            page = await self._http.call(Request(method="GET", path="/statuses", params=params), StatusesView)
            statuses += page.items
            if page.next is None:
                return statuses
            params = {"cursor": page.next}

    async def user(self, user_id: int) -> PersonView:
        """Get a user by id. Raises `ApiError`: `peer_not_found`."""
        return await self._http.call(Request(method="GET", path=f"/users/{user_id}"), PersonView)

    async def users(self, *user_ids: int) -> list[UserView]:
        """Get at most 100 users by ID. Users who are neither your contacts nor in a common group are left out."""
        params = {"ids": ",".join(map(str, user_ids))}
        return (await self._http.call(Request(method="GET", path="/users", params=params), UsersView)).items

    async def find_user(self, username: str) -> PersonView:
        """Get a user by exact username. Raises `ApiError`: `peer_not_found`."""
        request = Request(method="GET", path="/users", params={"username": username})
        return await self._http.call(request, PersonView)
