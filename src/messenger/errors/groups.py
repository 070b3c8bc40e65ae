"""Errors of groups: membership, ranks, invitations, links.

The tree under classes of `messenger.errors`:

    403 Forbidden: RankTooLow, NotPermitted, Muted    422 Unprocessable: MustBeEncrypted    429 RateLimited: SlowMode
    404 NotFound: MemberNotFound, InvitationNotFound, RequestNotFound, LinkNotFound
    409 Conflict: GroupFull, TooManyGroups, TooManyLinks, LinkUsedUp, SuccessorNeeded
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from messenger.errors import Conflict, Forbidden, NotFound, RateLimited, Unprocessable


class RankTooLow(Forbidden):
    code, title = "rank_too_low", "Your rank in this group does not allow this"


class NotPermitted(Forbidden):
    """`extra`: the `permission` of the group that the caller's rank lacks."""

    code, title = "not_permitted", "This group does not permit this to members of your rank"


class Muted(Forbidden):
    """`extra`: `until`, when the mute ends, as a timestamp of the wire."""

    code, title = "muted", "A moderator has muted you in this group"
    advice = "Wait until the time in `until`."

    @classmethod
    def until(cls, until: datetime) -> Muted:
        """The error, with the end of the mute."""
        text = until.astimezone(UTC).isoformat(timespec="milliseconds")
        return cls(extra={"until": text.replace("+00:00", "Z")})


class SlowMode(RateLimited):
    code, title = "slow_mode", "This group limits how often a member may send"

    @classmethod
    def until(cls, until: datetime, now: datetime) -> SlowMode:
        """The error, with the whole seconds to wait."""
        return cls(headers={"Retry-After": str(math.ceil((until - now).total_seconds()))})


class MustBeEncrypted(Unprocessable):
    code, title = "must_be_encrypted", "This group only accepts encrypted messages"


class MemberNotFound(NotFound):
    code, title = "member_not_found", "This user is not a member of the group"


class InvitationNotFound(NotFound):
    code, title = "invitation_not_found", "You have no invitation to this group"


class RequestNotFound(NotFound):
    code, title = "request_not_found", "This user has not requested to join the group"


class LinkNotFound(NotFound):
    code, title = "link_not_found", "This link does not exist or no longer works"


class GroupFull(Conflict):
    code, title = "group_full", "The group has as many members as it may have"


class TooManyGroups(Conflict):
    code, title = "too_many_groups", "The account is a member of as many groups as it may be"


class TooManyLinks(Conflict):
    code, title = "too_many_links", "The group has as many links as it may have"


class LinkUsedUp(Conflict):
    code, title = "link_used_up", "The link of this request has no uses left"


class SuccessorNeeded(Conflict):
    code, title = "successor_needed", "The owner has to transfer the group or choose a successor"
    advice = "Transfer the group (`POST /groups/{id}/transfer`) or name a `successor_id` when leaving."
