"""Who may do what with whose data: a row for each route and each socket method.

`of`, what the request names:
    own       nothing: the route only concerns the caller
    account   the owner's account, with a guess at its password or token
    owner     the owner's number or username
    asker     the number of a user who has sent the owner a contact request
    letter    a message from the owner to the contact
    received  a message from the owner to the caller
    sent      a message from the caller to the owner
    device    the owner's second device
    avatar    the key of the owner's avatar
    page      a public page

`_group_matrix.py` has the rows of groups.

Callers:
    owner     the owner of the data
    contact   a mutual contact; both have exchanged messages
    stranger  has an account, and no relation to the owner
    blocked   was such a contact, and is blocked by the owner
    blocker   was such a contact, and has blocked the owner
    former    was such a contact, and was removed by the owner
    keyless   has no valid token: signed out, expired, none at all (each is tried)
    gone      has the token of an account that was disabled or erased (each is tried)

Answers: a status, or for a refusal a word of WORDS; `.`: there is no such case.
Refused and read-only requests change no row, except for activity stamps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

COLUMNS = ("owner", "contact", "stranger", "blocked", "blocker", "former", "keyless", "gone")
TRIED = {"keyless": ("signed_out", "expired", "anonymous"), "gone": ("disabled", "erased")}

WORDS = {
    "-": (401, "unauthenticated"),
    "wrong": (401, "invalid_credentials"),
    "stale": (401, "invalid_refresh_token"),
    "self": (400, "cannot_target_self"),
    "private": (403, "not_a_contact"),
    "foreign": (403, "not_the_sender"),
    "nobody": (404, "peer_not_found"),
    "nothing": (404, "message_not_found"),
    "nodevice": (404, "device_not_found"),
    "nosecret": (404, "secret_not_found"),
    "rank": (403, "rank_too_low"),
    "permit": (403, "not_permitted"),
    "muted": (403, "muted"),
    "absent": (404, "member_not_found"),
    "noguest": (404, "invitation_not_found"),
    "noasker": (404, "request_not_found"),
    "nolink": (404, "link_not_found"),
    "succeed": (409, "successor_needed"),
    "unasked": (409, "no_pending_request"),
    "unblock": (409, "contact_blocked"),
    "upgrade": (426, "upgrade_required"),
}

MATRIX = """
                                      of        owner    contact  stranger blocked  blocker  former   keyless  gone

POST   /register                      page      201      201      201      201      201      201      201      201
POST   /login                         own       200      200      200      200      200      200      .        wrong
POST   /login                         account   wrong    wrong    wrong    wrong    wrong    wrong    wrong    wrong
POST   /token/refresh                 own       200      200      200      200      200      200      .        stale
POST   /token/refresh                 account   stale    stale    stale    stale    stale    stale    stale    stale
POST   /logout                        own       204      204      204      204      204      204      -        -
POST   /password                      own       204      204      204      204      204      204      -        -
POST   /password                      account   wrong    wrong    wrong    wrong    wrong    wrong    -        -
GET    /devices                       own       200      200      200      200      200      200      -        -
DELETE /devices/{device_id}           device    204      nodevice nodevice nodevice nodevice nodevice -        -
DELETE /account                       own       204      204      204      204      204      204      -        -
DELETE /account                       account   wrong    wrong    wrong    wrong    wrong    wrong    -        -
GET    /account/export                own       200      200      200      200      200      200      -        -

GET    /profile                       own       200      200      200      200      200      200      -        -
PUT    /profile                       own       200      200      200      200      200      200      -        -
GET    /settings                      own       200      200      200      200      200      200      -        -
PUT    /settings                      own       200      200      200      200      200      200      -        -
GET    /users/{user_id}               owner     200      200      200      200      200      200      -        -
GET    /users                         owner     200      200      200      200      200      200      -        -
GET    /users?ids                     owner     200      200      200      200      200      200      -        -
POST   /avatar/upload                 own       201      201      201      201      201      201      -        -
DELETE /avatar                        own       204      204      204      204      204      204      -        -
GET    /avatars/{key}                 avatar    200      200      200      200      200      200      200      200

GET    /contacts                      own       200      200      200      200      200      200      -        -
GET    /statuses                      own       200      200      200      200      200      200      -        -
PUT    /contacts/{user_id}            owner     nobody   200      nobody   nobody   200      nobody   -        -
POST   /subscribe                     owner     self     200      200      200      unblock  200      -        -
POST   /confirm_subscribe             owner     self     unasked  unasked  unasked  unasked  unasked  -        -
POST   /confirm_subscribe             asker     200      unasked  unasked  unasked  unasked  unasked  -        -
POST   /unsubscribe                   owner     self     200      200      200      200      200      -        -
POST   /block                         owner     self     200      200      200      200      200      -        -
POST   /unblock                       owner     self     200      200      200      200      200      -        -

POST   /messages                      owner     self     201      private  private  private  private  -        -
GET    /messages/{message_id}         letter    200      200      nothing  nothing  nothing  nothing  -        -
GET    /messages/{message_id}/receipts letter   200      foreign  nothing  nothing  nothing  nothing  -        -
GET    /messages/{message_id}         received  .        200      .        200      200      200      -        -
PATCH  /messages/{message_id}         letter    200      foreign  nothing  nothing  nothing  nothing  -        -
PATCH  /messages/{message_id}         sent      .        200      .        private  private  private  -        -
DELETE /messages/{message_id}         letter    204      foreign  nothing  nothing  nothing  nothing  -        -
DELETE /messages/{message_id}         sent      .        204      .        204      204      204      -        -
DELETE /messages/{message_id}?for=me  letter    204      204      nothing  nothing  nothing  nothing  -        -
GET    /history/{target_id}           owner     nobody   200      200      200      200      200      -        -
GET    /conversations                 own       200      200      200      200      200      200      -        -
PUT    /conversations/{target_id}     owner     nobody   200      nobody   200      200      200      -        -
PUT    /conversations/{target_id}?all owner     nobody   200      nobody   private  private  private  -        -
POST   /receipts                      owner     nobody   204      nobody   204      204      204      -        -

GET    /sync                          own       200      200      200      200      200      200      -        -
POST   /ws/ticket                     own       201      201      201      201      201      201      -        -
GET    /ws                            own       upgrade  upgrade  upgrade  upgrade  upgrade  upgrade  -        -
OPEN   /ws                            own       101      101      101      101      101      101      -        -
SOCKET message.send                   owner     self     200      private  private  private  private  -        -
SOCKET receipt.set                    owner     nobody   200      nobody   200      200      200      -        -
SOCKET typing                         owner     self     200      private  private  private  private  -        -
SOCKET call.signal                    owner     self     200      private  private  private  private  -        -
SOCKET watch                          own       200      200      200      200      200      200      -        -
SOCKET presence.set                   own       200      200      200      200      200      200      -        -
SOCKET ping                           own       200      200      200      200      200      200      -        -

GET    /e2e/secret_key                own       200      nosecret nosecret nosecret nosecret nosecret -        -
POST   /e2e/secret_key                own       201      201      201      201      201      201      -        -
GET    /ice_servers                   own       200      200      200      200      200      200      -        -

GET    /health/live                   page      200      200      200      200      200      200      200      200
GET    /health/ready                  page      200      200      200      200      200      200      200      200
GET    /metrics                       page      -        -        -        -        -        -        -        -
GET    /                              page      200      200      200      200      200      200      200      200
GET    /openapi.json                  page      200      200      200      200      200      200      200      200
GET    /docs                          page      200      200      200      200      200      200      200      200
GET    /docs/{name}                   page      200      200      200      200      200      200      200      200
GET    /demo                          page      200      200      200      200      200      200      200      200
GET    /demo/{name}                   page      200      200      200      200      200      200      200      200
"""


class Case(NamedTuple):
    """One cell, for one role. `variant`: what follows `?`, where one route has rows of several kinds."""

    method: str
    path: str
    variant: str
    of: str
    actor: str
    expected: str

    @property
    def status(self) -> int:
        return WORDS[self.expected][0] if self.expected in WORDS else int(self.expected)

    @property
    def code(self) -> str | None:
        """The code of a refusal."""
        return WORDS[self.expected][1] if self.expected in WORDS else None

    @property
    def changes_nothing(self) -> bool:
        """Refused, or only read. An open socket adds a row of its own."""
        return self.status >= 400 or self.method == "GET"

    @property
    def route(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def id(self) -> str:
        """The id of the parametrized test."""
        variant = f"?{self.variant}" if self.variant else ""
        return f"{self.method} {self.path}{variant} of {self.of} by {self.actor}"


def unchanging(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases that are refused or only read, by row: requests whose answers do not depend on each other."""
    return rows(case for case in cases if case.changes_nothing)


def changing(cases: Iterable[Case]) -> list[Case]:
    """The other cases, each of which needs users of its own."""
    return [case for case in cases if not case.changes_nothing]


def rows(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases of each row of a table, by the request without its caller."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.id.removesuffix(f" by {case.actor}"), []).append(case)
    return found


def parse(table: str, columns: Sequence[str] = COLUMNS) -> list[Case]:
    """The cells of the table. Raises `ValueError` for an unknown word."""
    cases: list[Case] = []
    lines = [line.split() for line in table.splitlines() if line.strip()]
    if lines.pop(0) != ["of", *columns]:
        raise ValueError("the first line names the columns")
    for method, place, of, *cells in lines:
        if len(cells) != len(columns):
            raise ValueError(f"{method} {place}: {len(cells)} cells for {len(columns)} columns")
        path, _, variant = place.partition("?")
        for column, expected in zip(columns, cells, strict=True):
            if expected not in WORDS and expected != "." and not expected.isdigit():
                raise ValueError(f"{method} {place}: {expected} is no word")
            actors = () if expected == "." else TRIED.get(column, (column,))
            cases += [Case(method, path, variant, of, actor, expected) for actor in actors]
    return cases


CASES = parse(MATRIX)
