"""Who may do what in a group: a row for each route and socket method that takes a group or one of its messages.

`of`, what the request names besides the group:
    own        nothing: the request only concerns the caller
    group      the group itself
    plain      another member of the lowest rank
    helper     another moderator
    deputy     another admin
    founder    the owner
    guest      a user with an open invitation
    hopeful    a user whose request waits
    exile      a banned user
    passer     a user without any relation to the group
    letter     a message of the owner to the group
    note       a message of `plain` to the group

Callers, by how they stand to the group: `owner`, `admin`, `mod` (a moderator), `member`; `muted`, a member; `invited`;
`asker`, whose request waits; `former`, was a member and left; `banned`, was a member; `outside`, a stranger. Every row
is also requested without a token (`anonymous`), and answered 401.

Short: `~` for `/groups/{group_id}`, `#` for `/messages/{message_id}`, `$` for `{target_id}`.

Answers: a status, or for a refusal a word of `_matrix.WORDS`. Refused and read-only requests change no row, except for
activity stamps. `watch` only narrows the signals that a socket receives anyway.
"""

from __future__ import annotations

from tests.authorization._matrix import Case, parse

COLUMNS = ("owner", "admin", "mod", "member", "muted", "invited", "asker", "former", "banned", "outside")
SHORT = {"~": "/groups/{group_id}", "#": "/messages/{message_id}", "$": "{target_id}"}

# `nobody` is also the answer to users who are not members: the group does not exist for them.
MATRIX = """
                                 of      owner   admin   mod     member  muted   invited asker   former  banned  outside

POST   /groups                   own     201     201     201     201     201     201     201     201     201     201
GET    /groups                   own     200     200     200     200     200     200     200     200     200     200
GET    ~                         group   200     200     200     200     200     200     nobody  nobody  nobody  nobody
PATCH  ~?name                    group   200     200     permit  permit  permit  nobody  nobody  nobody  nobody  nobody
PATCH  ~?expire                  group   200     200     permit  permit  permit  nobody  nobody  nobody  nobody  nobody
PATCH  ~?settings                group   200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~?permissions             group   200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/avatar                  group   201     201     permit  permit  permit  nobody  nobody  nobody  nobody  nobody
DELETE ~/avatar                  group   204     204     permit  permit  permit  nobody  nobody  nobody  nobody  nobody
POST   ~/transfer                plain   200     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/transfer                founder self    rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/transfer                passer  absent  rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/leave                   group   204     204     204     204     204     204     204     204     204     204
DELETE ~                         group   204     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
GET    ~/log                     group   200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody

GET    ~/members                 group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
GET    ~/members?state=invited   group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
GET    ~/members/{user_id}       plain   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
GET    ~/members/{user_id}       passer  absent  absent  absent  absent  absent  nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?mod   plain   200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?admin plain   200     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?owner plain   rank    rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?member helper  200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?member deputy  200     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?member founder succeed rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?member passer  absent  absent  absent  absent  absent  nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?title plain   200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?mute  plain   200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?mute  helper  200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PATCH  ~/members/{user_id}?mute  deputy  200     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/members/{user_id}       plain   204     204     204     rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/members/{user_id}       helper  204     204     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/members/{user_id}       deputy  204     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/members/{user_id}       founder rank    rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/members/{user_id}       passer  204     204     204     rank    rank    nobody  nobody  nobody  nobody  nobody

POST   ~/invitations             passer  200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
DELETE ~/invitations/{user_id}   guest   204     204     204     204     204     nobody  nobody  nobody  nobody  nobody
GET    /invitations              own     200     200     200     200     200     200     200     200     200     200
POST   ~/join                    group   200     200     200     200     200     200     noguest noguest noguest noguest
POST   ~/decline                 group   204     204     204     204     204     204     204     204     204     204
POST   ~/links                   group   201     201     201     permit  permit  nobody  nobody  nobody  nobody  nobody
GET    ~/links                   group   200     200     200     permit  permit  nobody  nobody  nobody  nobody  nobody
PATCH  ~/links/{link_id}         group   200     200     200     permit  permit  nobody  nobody  nobody  nobody  nobody
DELETE ~/links/{link_id}         group   204     204     204     permit  permit  nobody  nobody  nobody  nobody  nobody
DELETE ~/links                   group   204     204     204     permit  permit  nobody  nobody  nobody  nobody  nobody
GET    /links/{token}            group   200     200     200     200     200     200     200     200     nolink  200
POST   /links/{token}/join       group   200     200     200     200     200     200     200     200     nolink  200
GET    ~/requests                group   200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/requests/{user_id}      hopeful 200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
POST   ~/requests/{user_id}      passer  noasker noasker noasker rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/requests                group   204     204     204     204     204     204     204     204     204     204

GET    ~/bans                    group   200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
PUT    ~/bans/{user_id}          passer  200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
PUT    ~/bans/{user_id}          plain   200     200     200     rank    rank    nobody  nobody  nobody  nobody  nobody
PUT    ~/bans/{user_id}          helper  200     200     rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PUT    ~/bans/{user_id}          deputy  200     rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
PUT    ~/bans/{user_id}          founder rank    rank    rank    rank    rank    nobody  nobody  nobody  nobody  nobody
DELETE ~/bans/{user_id}          exile   204     204     204     rank    rank    nobody  nobody  nobody  nobody  nobody

POST   /messages                 group   201     201     201     201     muted   nobody  nobody  nobody  nobody  nobody
GET    #                         letter  200     200     200     200     200     nothing nothing nothing nothing nothing
GET    #/receipts                letter  200     foreign foreign foreign foreign nothing nothing nothing nothing nothing
PATCH  #                         letter  200     foreign foreign foreign foreign nothing nothing nothing nothing nothing
DELETE #                         letter  204     rank    rank    foreign foreign nothing nothing nothing nothing nothing
DELETE #                         note    204     204     204     foreign foreign nothing nothing nothing nothing nothing
DELETE #?for=me                  letter  204     204     204     204     204     nothing nothing nothing nothing nothing
GET    /history/$                group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
GET    /conversations            own     200     200     200     200     200     200     200     200     200     200
PUT    /conversations/$          group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
PUT    /conversations/$?all      group   200     200     permit  permit  permit  nobody  nobody  nobody  nobody  nobody
POST   /receipts                 group   204     204     204     204     204     nobody  nobody  nobody  nobody  nobody
GET    /sync                     own     200     200     200     200     200     200     200     200     200     200
GET    /users/{user_id}          group   nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody
POST   /subscribe                group   nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody
POST   /block                    group   nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody  nobody
SOCKET message.send              group   200     200     200     200     muted   nobody  nobody  nobody  nobody  nobody
SOCKET receipt.set               group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
SOCKET call.signal               group   200     200     200     200     200     nobody  nobody  nobody  nobody  nobody
SOCKET watch                     group   200     200     200     200     200     200     200     200     200     200
SOCKET typing                    group   200     200     200     200     muted   nobody  nobody  nobody  nobody  nobody
"""


def parse_groups(table: str) -> list[Case]:
    """The cells of the table, and one more for each row: without a token."""
    for short, path in SHORT.items():
        table = table.replace(short, path)
    cases = parse(table, COLUMNS)
    rows = {(case.method, case.path, case.variant, case.of) for case in cases}
    return cases + [Case(*row, "anonymous", "-") for row in sorted(rows)]


CASES = parse_groups(MATRIX)
