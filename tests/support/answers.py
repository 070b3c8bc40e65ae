"""Responses over bare HTTP, and which refusals are valid."""

from __future__ import annotations

import httpx
import msgspec

NOT_A_MEMBER = ("peer_not_found", "message_not_found")
"""The codes for those who write to a group that they are not in, or repeat what they wrote before they left it."""
# What may be answered to people who act on what they believe, while others act, too.
REFUSALS = frozenset(
    {
        "group_full",
        "invitation_not_found",
        "link_not_found",
        "member_not_found",
        "not_permitted",
        "peer_not_found",
        "rank_too_low",
        "too_many_links",
    }
)


class Answer(msgspec.Struct, frozen=True):
    """The result of one attempt over HTTP; `status` 0: no response in time, or a broken connection.

    `refused`: a valid refusal in a group, such as of someone who is no member any more.
    """

    began: float
    seconds: float
    status: int
    retry_after: bool = False
    refused: bool = False


def is_refusal(answer: httpx.Response, *codes: str) -> bool:
    """Whether a request about a group was refused with one of these codes, or with any that is valid."""
    return answer.status_code in {403, 404, 409} and answer.json().get("code") in (codes or REFUSALS)
