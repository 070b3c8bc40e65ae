"""Unreadable events, inserted into a stream past the server."""

from __future__ import annotations

import json
from typing import NamedTuple

from messenger.container import Container
from messenger.testing import Person

BEYOND = "'20000-01-01'"
"""A time that PostgreSQL keeps and Python has no `datetime` for: asyncpg fails on the whole page."""


class Poison(NamedTuple):
    """The columns of an event, as SQL; `{other}` is an existing user."""

    name: str
    payload: str = "NULL"
    peer: str = "NULL"
    subject: str = "NULL"
    at: str = "now()"


def receipt(**wrong: object) -> Poison:
    """A receipt with an invalid value."""
    said = {"target_id": 10000001, "user_id": 10000001, "read_seq": 1, "delivered_seq": 1, **wrong}
    return Poison("receipt.updated", f"'{json.dumps(said)}'")


POISON = {
    "no such event": Poison("no.such"),
    "a receipt that says nothing": Poison("receipt.updated"),
    "a receipt that is a list": Poison("receipt.updated", "'[1]'"),
    "a receipt without its keys": Poison("receipt.updated", """'{"user_id": 1}'"""),
    "a receipt of words": receipt(read_seq="one"),
    "a number that msgpack does not have": receipt(version=2**70),
    "a contact without a state": Poison("contact.updated", "'{}'", "{other}"),
    "a contact in the wrong shape": Poison("contact.updated", """'{"state": {"a": 1}}'""", "{other}"),
    "an unknown contact": Poison("contact.updated", """'{"state": "mutual"}'""", "1"),
    "a profile of an unknown user": Poison("profile.updated", peer="1"),
    "a conversation with an unknown user": Poison("conversation.updated", peer="1"),
    "an invalid device": Poison("device.added", """'{"id": 7}'"""),
    "a removed device without its id": Poison("device.removed", "'{}'"),
    "a message that is not there": Poison("message.created", subject="gen_random_uuid()"),
    "no message": Poison("message.edited"),
    "a time beyond the calendar": Poison("profile.updated", peer="{other}", at=BEYOND),
    "a time before it": Poison("profile.updated", peer="{other}", at="'4000-01-01 BC'"),
}


async def insert(hosted: Container, person: Person, poison: Poison, other: Person, times: int = 1) -> int:
    """Insert unreadable events of this user; return the position of the last one."""
    name, payload, peer, subject, at = poison
    async with hosted.engine.begin() as connection:
        moved = await connection.exec_driver_sql(
            f"UPDATE streams SET position = position + {times} WHERE user_id = {person.id} RETURNING position"
        )
        last = int(moved.scalar_one())
        await connection.exec_driver_sql(
            "INSERT INTO events (user_id, position, name, subject, peer_id, payload, at) "
            f"SELECT {person.id}, n, '{name}', {subject}, {peer.format(other=other.id)}, {payload}, {at} "
            f"FROM generate_series({last - times + 1}, {last}) AS n"
        )
    return last


def counted(hosted: Container, kind: str) -> int:
    """How many rows of a kind were counted as unreadable."""
    for line in hosted.metrics.render().decode().splitlines():
        if line.startswith(f'messenger_unreadable_rows_total{{kind="{kind}"}}'):
            return int(float(line.rpartition(" ")[2]))
    return 0
