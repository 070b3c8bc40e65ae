"""The part of a state that concerns groups: their members, notices, invitations and requests to join."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from messenger.client.state_data import Conversation, StateData
from messenger.schemas.admission import InvitationView, RequestView
from messenger.schemas.groups import GroupPreview, GroupView, MemberView, NoticeView
from messenger.schemas.messages import PeerView
from messenger.schemas.realtime import GroupChangeView, InvitationChangeView, JoinRequestView, MemberChangeView

JOINED = frozenset({"created", "joined", "joined_by_link"})


class GroupState(StateData):
    """Groups of one user. Of two copies of a group, the one with the higher version is kept."""

    def add_members(self, group_id: int, members: Iterable[MemberView], *, since: int) -> None:
        """Set all members of a group, from `GET /groups/{id}/members`.

        `since`: the version of the group before the request; what later events say of a member is kept.
        """
        if group_id not in self.groups:
            return
        newer = {user_id for user_id, version in self._member_versions.get(group_id, {}).items() if version > since}
        current = self.members.get(group_id, {})
        loaded = {member.user.id: member for member in members if member.user.id not in newer}
        self.members[group_id] = loaded | {user_id: current[user_id] for user_id in newer if user_id in current}

    def add_invitations(self, invitations: Iterable[InvitationView]) -> None:
        """Set your invitations, from `GET /invitations`."""
        self.invitations = {invitation.group.id: invitation for invitation in invitations}

    def add_requests(self, group_id: int, requests: Iterable[RequestView]) -> None:
        """Set the requests to join a group, from `GET /groups/{id}/requests`."""
        self.requests[group_id] = {waiting.user.id: waiting for waiting in requests}

    def notices_of(self, group_id: int) -> list[NoticeView]:
        """The known notices of a group in order: each is shown after the message `after_seq`."""
        return sorted(self.notices.get(group_id, {}).values(), key=lambda each: (each.after_seq, each.id))

    def member_name(self, user_id: int) -> str | None:
        """The name of a user who is known as a member of a group, or None."""
        found = (members[user_id] for members in self.members.values() if user_id in members)
        return next((member.user.name for member in found), None)

    # --- events ---

    def on_group(self, change: GroupChangeView) -> None:
        """Apply `group.updated`: the group has changed, or you have joined or left it."""
        group, notice = change.group, change.notice
        if isinstance(group, GroupPreview):
            self._forget(group.id)
            return
        self.keep_group(group)
        if notice is not None:
            if notice.action in JOINED and (notice.user_id == self.me or notice.action == "created"):
                self._begin(group.id, notice.after_seq)
            if notice.action == "owner":
                self._succeed(group.id, notice)
            self._notice(group.id, notice)

    def on_member(self, change: MemberChangeView) -> None:
        """Apply `group.member`: a user has joined or left a group, or has changed as a member."""
        group_id, user_id = change.target_id, change.member.user.id
        group = self.groups.get(group_id)
        if group is None:
            return
        if change.version > group.version:
            group = msgspec.structs.replace(group, member_count=change.member_count, version=change.version)
        if user_id == self.me and change.membership == "member":
            member = change.member
            me = msgspec.structs.replace(group.me, role=member.role, title=member.title, muted_until=member.muted_until)
            group = msgspec.structs.replace(group, me=me)
        self.groups[group_id] = group
        members = self.members.setdefault(group_id, {})
        if change.membership == "member":
            members[user_id] = change.member
        else:
            members.pop(user_id, None)
        self._member_versions.setdefault(group_id, {})[user_id] = change.version
        if change.notice is not None:
            self._notice(group_id, change.notice)

    def on_invitation(self, change: InvitationChangeView) -> None:
        """Apply `group.invited`: an invitation has arrived or ended."""
        if change.group.membership == "invited" and change.inviter is not None and change.at is not None:
            invitation = InvitationView(change.group, change.inviter, change.message, change.at)
            self.invitations[change.group.id] = invitation
        else:
            self.invitations.pop(change.group.id, None)

    def on_request(self, change: JoinRequestView) -> None:
        """Apply `group.requested`: a request to join has arrived or ended."""
        requests = self.requests.setdefault(change.target_id, {})
        if change.membership == "requested" and change.at is not None:
            requests[change.user.id] = RequestView(change.user, change.message, change.at)
        else:
            requests.pop(change.user.id, None)
        self.pending[change.target_id] = change.pending

    # --- internals ---

    def keep_group(self, group: GroupView) -> None:
        """Keep a group unless a newer copy is known."""
        known = self.groups.get(group.id)
        if known is not None and known.version > group.version:
            return
        self.groups[group.id] = group
        conversation = self.conversations.setdefault(group.id, Conversation(group.id))
        conversation.target = PeerView(group.id, "group", None, group.name, group.avatar)
        conversation.expire_after = group.settings.expire_after

    def add_notices(self, group_id: int, notices: Iterable[NoticeView]) -> None:
        """Add notices of a group, from `GET /history`."""
        for notice in notices:
            self._notice(group_id, notice)

    def _notice(self, group_id: int, notice: NoticeView) -> None:
        if group_id in self.groups:
            self.notices.setdefault(group_id, {})[notice.id] = notice

    def _begin(self, group_id: int, last_seq: int) -> None:
        # New members have read everything so far. A later state that is already loaded is kept.
        conversation = self.conversations[group_id]
        conversation.count(0, 2 * last_seq, read_seq=last_seq, last_seq=last_seq)
        self.joined.add(group_id)

    def _succeed(self, group_id: int, notice: NoticeView) -> None:
        # The former owner is an admin, or has left. No event reports the two as members.
        members = self.members.get(group_id, {})
        for user_id, role in ((notice.before, "admin"), (notice.after, "owner")):
            if user_id in members:
                members[user_id] = msgspec.structs.replace(members[user_id], role=role)

    def _forget(self, group_id: int) -> None:
        for parts in self._of_groups():
            parts.pop(group_id, None)
        self.joined.discard(group_id)
        for place in [each for each in self.receipts if each[0] == group_id]:
            del self.receipts[place]

    def _of_groups(self) -> tuple[dict[int, Any], ...]:
        return (
            self.groups,
            self.members,
            self._member_versions,
            self.notices,
            self.requests,
            self.pending,
            self.conversations,
            self.messages,
        )


GROUP_HANDLERS: dict[str, tuple[Any, Callable[[Any, Any], None]]] = {
    "group.updated": (GroupChangeView, GroupState.on_group),
    "group.member": (MemberChangeView, GroupState.on_member),
    "group.invited": (InvitationChangeView, GroupState.on_invitation),
    "group.requested": (JoinRequestView, GroupState.on_request),
}
