"""The number of round trips of each operation of a group. Budgets only go down."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import msgspec
import pytest

from messenger.container import Container
from messenger.schemas.admission import BanDraft, JoinDraft, LinkDraft, LinkView
from messenger.schemas.groups import GroupView
from messenger.testing import Factory, Person, StatementLog
from messenger.testing.factories import PASSWORD
from tests.budgets._group_budgets import GROUP_BUDGETS, TO_GROUP_BUDGETS
from tests.support.groups import create_group, invite, join
from tests.support.images import encoded, plain

# On first use of a type asyncpg looks it up in the catalogue, once per connection; only the second run is counted.
RUNS = 2

# Who sends the request, if not the owner of the group.
ACTORS = {
    "POST /groups/{group_id}/leave": "member",
    "GET /invitations": "guest",
    "POST /groups/{group_id}/join": "guest",
    "POST /groups/{group_id}/decline": "guest",
    "GET /links/{token}": "passer",
    "POST /links/{token}/join": "passer",
    "DELETE /groups/{group_id}/requests": "asker",
    "POST /receipts": "member",
    "GET /sync": "member",
}
# The user whom the path names, if it is not the member.
TARGETS = {
    "DELETE /groups/{group_id}/invitations/{user_id}": "guest",
    "POST /groups/{group_id}/requests/{user_id}": "asker",
    "DELETE /groups/{group_id}/bans/{user_id}": "exile",
}


class Staged(msgspec.Struct, frozen=True):
    """A group with a user in each relation to it."""

    group: GroupView
    people: dict[str, Person]
    link: LinkView
    message_id: str

    def url(self, path: str, target: str) -> str:
        values = {"group_id": self.group.id, "target_id": self.group.id, "user_id": self.people[target].id}
        return path.format(**values, message_id=self.message_id, link_id=self.link.id, token=self.link.token)

    def body(self, operation: str) -> Any:
        """The body of a request; None if there is none."""
        group, people = self.group.id, self.people
        bodies: dict[str, Any] = {
            "POST /groups": {"name": "Another"},
            "PATCH /groups/{group_id}": {"name": "Renamed"},
            "POST /groups/{group_id}/transfer": {"user_id": people["member"].id, "password": PASSWORD},
            "POST /groups/{group_id}/leave": {},
            "DELETE /groups/{group_id}": {"password": PASSWORD},
            "PATCH /groups/{group_id}/members/{user_id}": {"role": "moderator"},
            "POST /groups/{group_id}/invitations": {"user_ids": [people["friend"].id]},
            "POST /groups/{group_id}/decline": {},
            "POST /groups/{group_id}/links": {},
            "PATCH /groups/{group_id}/links/{link_id}": {"name": "Poster"},
            "POST /links/{token}/join": {},
            "POST /groups/{group_id}/requests/{user_id}": {"accept": True},
            "PUT /groups/{group_id}/bans/{user_id}": {},
            "POST /messages": {"target_id": group, "client_id": secrets.token_hex(8), "body": "Hello"},
            "PATCH /messages/{message_id}": {"body": "Better"},
            "PUT /conversations/{target_id}": {"pinned": True},
            "POST /receipts": {"target_id": group, "read_seq": 1},
        }
        return bodies.get(operation)


async def staged(container: Container) -> Staged:
    """A new group."""
    make, services = Factory(container), container.services
    roles = ("owner", "member", "guest", "asker", "exile", "passer", "friend")
    people = dict(zip(roles, await make.people(len(roles)), strict=True))
    owner = people["owner"]
    group = await create_group(container, owner)
    await join(container, make, owner, group, people["member"])
    for role in ("guest", "friend"):
        await make.befriend(owner, people[role])
    await invite(container, owner, group, people["guest"])
    approved = await services.group_links.create(owner.actor, group.id, LinkDraft(approval=True))
    await services.group_links.join(people["asker"].actor, approved.token, JoinDraft())
    await services.bans.ban(owner.actor, group.id, people["exile"].id, BanDraft())
    message = await make.message(owner, msgspec.structs.replace(owner, id=group.id))
    link = await services.group_links.create(owner.actor, group.id, LinkDraft())
    return Staged(group, people, link, str(message.id))


async def count(operation: str, http: httpx.AsyncClient, settled: Container, log: StatementLog) -> list[str]:
    """The statements of the second of two requests, each with a group of its own."""
    method, path = operation.split()
    counted: list[str] = []
    for run in range(RUNS):
        stage = await staged(settled)
        headers = stage.people[ACTORS.get(operation, "owner")].headers
        url = stage.url(path, TARGETS.get(operation, "member"))
        body = stage.body(operation)
        options: dict[str, Any] = {} if body is None else {"json": body}
        if "/avatar" in path:
            picture = {"file": encoded(plain((run, secrets.randbelow(256), secrets.randbelow(256))))}
            if method == "POST":
                options = {"files": picture}
            else:
                assert (await http.post(url, headers=headers, files=picture)).status_code == 201
        async with log.recording() as sent:
            answer = await http.request(method, url, headers=headers, **options)
        assert answer.is_success, answer.text
        counted = sent
    return counted


@pytest.mark.parametrize("operation", GROUP_BUDGETS)
async def test_operation_of_group_stays_within_statement_budget(
    operation: str, http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    sent = await count(operation, http, settled, log)
    assert len(sent) == GROUP_BUDGETS[operation], [" ".join(statement.split())[:60] for statement in sent]


@pytest.mark.parametrize("operation", TO_GROUP_BUDGETS)
async def test_operation_with_group_stays_within_statement_budget(
    operation: str, http: httpx.AsyncClient, settled: Container, log: StatementLog
) -> None:
    sent = await count(operation, http, settled, log)
    assert len(sent) == TO_GROUP_BUDGETS[operation], [" ".join(statement.split())[:60] for statement in sent]
