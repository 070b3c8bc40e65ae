"""People in groups while faults happen: they create, invite, join by links, leave, remove, ban, and change ranks.
Each attempt is one HTTP request, whose outcome is recorded. One without a response may happen at any later time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from messenger.schemas.groups import GroupView
from messenger.schemas.users import PrivacyPatch, ProfilePatch
from tests.support.group_changes import BAN, Change, ChangeRecorder, Kind, possible
from tests.support.population import Member
from tests.support.stored_groups import RANKS

if TYPE_CHECKING:
    from tests.support.fault_population import FaultPopulation

MOST_GROUPS = 5
FEWEST_MEMBERS = 3
"""Nobody is asked to go where so few are left."""
MOST_RACERS = 4
ORGANIZERS = 2
_PAUSE = 0.3


class GroupLoad:
    """The groups of a run. `groups`: the ids that are known. `patience`: seconds in which a response is awaited."""

    def __init__(self, population: FaultPopulation, *, patience: float) -> None:
        self.population = population
        self.patience = patience
        self.recorder = ChangeRecorder()
        self.groups: list[int] = []
        self._made = 0

    async def begin(self, http: httpx.AsyncClient) -> None:
        """The first groups: everyone joins the first by one link, at once; half of them join the second."""
        members = self.population.members
        for member in members:
            privacy = PrivacyPatch(groups_from="everyone")
            await member.devices[0].client.update_profile(ProfilePatch(privacy=privacy))
        for owner, newcomers, history in ((0, members, "all"), (1, members[: len(members) // 2 + 1], "none")):
            first = Attempts(self, http, Random(f"{self.population.seed}/groups/{owner}"))
            group_id = await first.create(members[owner], history)
            others = [each for each in newcomers if each is not members[owner]]
            assert group_id is not None, "the first groups can't be created"
            token = await first.link(group_id, members[owner], uses=len(others))
            assert token is not None, "a group without a link"
            await asyncio.gather(*(first.join(group_id, each, token) for each in others))

    def name(self) -> str:
        """A name that no other group gets."""
        self._made += 1
        return f"{self.population.seed} {self._made}"

    def members_of(self, group_id: int) -> list[Member]:
        """Who believes to be a member."""
        return [each for each in self.population.members if view_of(each, group_id)]

    def outsiders_of(self, group_id: int) -> list[Member]:
        """Who believes to be none."""
        return [each for each in self.population.members if not view_of(each, group_id)]


def view_of(member: Member, group_id: int) -> GroupView | None:
    """A group as the user's first device knows it."""
    return member.devices[0].state.groups.get(group_id)


def rank_of(member: Member, group_id: int) -> int:
    """The rank that the user believes to have; -1: none."""
    view = view_of(member, group_id)
    return -1 if view is None else RANKS.index(view.me.role)


class Attempts:
    """Attempts at changes, each recorded with its outcome."""

    def __init__(self, load: GroupLoad, http: httpx.AsyncClient, chance: Random) -> None:
        self.load = load
        self.chance = chance
        self._http = http
        self._recorder = load.recorder

    async def ask(self, member: Member, method: str, path: str, body: Any = None) -> httpx.Response | None:
        """One request by one of the user's devices; None: there was no response, or it doesn't say what happened."""
        device = self.chance.choice(member.devices)
        return await self.load.population.ask_for_group(device, self._http, method, path, body)

    async def change(
        self, kind: Kind, group_id: int, user_id: int, asking: Callable[[], Awaitable[httpx.Response | None]]
    ) -> httpx.Response | None:
        """One attempt at a change; returns the response if it succeeded."""
        return self._end(self._recorder.begin(kind, group_id, user_id), await asking())

    def _end(self, change: Change, answer: httpx.Response | None) -> httpx.Response | None:
        if answer is None:
            return None
        self._recorder.end(change, "ok" if answer.is_success else "fail")
        if not answer.is_success:
            return None
        if answer.content:
            said = answer.json()
            view = said.get("group", said)
            if "version" in view:
                self._recorder.acknowledge(view["id"], view["version"])
        return answer

    # --- changes ----------------------------------------------------------------------------------

    async def create(self, owner: Member, history: str) -> int | None:
        """A new group; one whose creation has no response stays unknown, except to its owner's devices."""
        body = {"name": self.load.name(), "settings": {"history": history}}
        answer = await self.ask(owner, "POST", "/groups", body)
        if answer is None or not answer.is_success:
            return None
        group_id: int = answer.json()["group"]["id"]
        self._end(self._recorder.begin("create", group_id, owner.id), answer)
        self.load.groups.append(group_id)
        return group_id

    async def link(self, group_id: int, maker: Member, *, uses: int) -> str | None:
        """The token of a new link that admits so many."""
        answer = await self.ask(maker, "POST", f"/groups/{group_id}/links", {"max_uses": uses})
        if answer is None or not answer.is_success:
            # It may exist, but nobody has its token.
            return None
        link = answer.json()
        self._recorder.links[group_id][link["id"]] = uses
        return str(link["token"])

    async def join(self, group_id: int, member: Member, token: str | None = None) -> None:
        """Join by a link, or by an invitation."""
        path = f"/links/{token}/join" if token else f"/groups/{group_id}/join"
        await self.change("join", group_id, member.id, lambda: self.ask(member, "POST", path, {} if token else None))

    async def leave(self, group_id: int, member: Member) -> None:
        """Leave a group; its owner is followed by someone else."""
        asking = partial(self.ask, member, "POST", f"/groups/{group_id}/leave", {})
        await self.change("leave", group_id, member.id, asking)

    async def rename(self, group_id: int, member: Member) -> None:
        """Give the group a new name."""
        name = self.load.name()
        change = self._recorder.begin("rename", group_id, member.id, name=name)
        self._end(change, await self.ask(member, "PATCH", f"/groups/{group_id}", {"name": name}))


class Organizer:
    """Changes groups repeatedly, one change or race at a time."""

    def __init__(self, load: GroupLoad, number: int) -> None:
        self.idle = asyncio.Event()
        self._load = load
        self._chance = Random(f"{load.population.seed}/organizer/{number}")
        self._http = http = httpx.AsyncClient(timeout=load.patience)
        self._attempts = Attempts(load, http, self._chance)

    async def run(self) -> None:
        """Run until cancelled."""
        choices: tuple[tuple[int, Callable[[int], Awaitable[object]]], ...] = (
            (1, self._create),
            (4, self._race),
            (4, self._invite),
            (3, self._leave),
            (2, self._remove),
            (2, self._ban),
            (4, self._unban),
            (3, self._change_rank),
            (1, self._revoke),
            (2, self._rename),
        )
        weights, acts = [weight for weight, _ in choices], [act for _, act in choices]
        try:
            while True:
                self.idle.set()
                await self._load.population.going.wait()
                self.idle.clear()
                await self._chance.choices(acts, weights)[0](self._chance.choice(self._load.groups))
                await asyncio.sleep(self._chance.uniform(0, _PAUSE))
        finally:
            await self._http.aclose()

    def _one(self, group_id: int, *, at_least: int = 0, below: int = len(RANKS)) -> Member | None:
        """A member of such a rank, if there is one."""
        found = [each for each in self._load.members_of(group_id) if at_least <= rank_of(each, group_id) < below]
        return self._chance.choice(found) if found else None

    def _pair(self, group_id: int, *, at_least: int = 1) -> tuple[Member, Member] | None:
        """Someone of such a rank, and a member of a lower one."""
        actor = self._one(group_id, at_least=at_least)
        target = self._one(group_id, below=rank_of(actor, group_id)) if actor else None
        return (actor, target) if actor and target else None

    def _can_lose(self, group_id: int) -> bool:
        return len(self._load.members_of(group_id)) > FEWEST_MEMBERS

    # --- coming -----------------------------------------------------------------------------------

    async def _create(self, _: int) -> None:
        if len(self._load.groups) < MOST_GROUPS:
            history = self._chance.choice(("none", "recent", "all"))
            await self._attempts.create(self._chance.choice(self._load.population.members), history)

    async def _race(self, group_id: int) -> None:
        """Users who are outside want the few uses of a link at the same time, one of them twice."""
        outsiders, maker = self._load.outsiders_of(group_id), self._one(group_id, at_least=1)
        if maker is None or not outsiders:
            return
        token = await self._attempts.link(group_id, maker, uses=self._chance.randint(1, 2))
        if token is not None:
            racers = self._chance.sample(outsiders, min(MOST_RACERS, len(outsiders)))
            racers.append(racers[0])
            await asyncio.gather(*(self._attempts.join(group_id, each, token) for each in racers))

    async def _invite(self, group_id: int) -> None:
        outsiders, inviter = self._load.outsiders_of(group_id), self._one(group_id)
        if inviter is None or not outsiders:
            return
        invited = self._chance.sample(outsiders, min(2, len(outsiders)))
        body = {"user_ids": [each.id for each in invited]}
        await self._attempts.ask(inviter, "POST", f"/groups/{group_id}/invitations", body)
        await asyncio.gather(*(self._attempts.join(group_id, each) for each in invited))

    # --- going ------------------------------------------------------------------------------------

    async def _leave(self, group_id: int) -> None:
        member = self._one(group_id)
        if member is not None and self._can_lose(group_id):
            await self._attempts.leave(group_id, member)

    async def _remove(self, group_id: int) -> None:
        pair = self._pair(group_id)
        if pair and self._can_lose(group_id):
            path = f"/groups/{group_id}/members/{pair[1].id}"
            await self._do("remove", group_id, pair[1], pair[0], "DELETE", path)

    async def _ban(self, group_id: int) -> None:
        """A member who may be leaving or sending at this moment, or someone outside."""
        pair = self._pair(group_id)
        if pair and self._can_lose(group_id):
            actor, target = pair[0], self._chance.choice([pair[1], *self._load.outsiders_of(group_id)])
            await self._do("ban", group_id, target, actor, "PUT", f"/groups/{group_id}/bans/{target.id}", {})

    async def _unban(self, group_id: int) -> None:
        actor = self._one(group_id, at_least=1)
        known = self._load.recorder.by_membership()
        banned = [user for (place, user), changes in known if place == group_id and True in possible(changes, BAN)]
        if actor is None or not banned:
            return
        user_id = self._chance.choice(banned)
        target = next(each for each in self._load.population.members if each.id == user_id)
        await self._do("unban", group_id, target, actor, "DELETE", f"/groups/{group_id}/bans/{user_id}")

    async def _do(
        self, kind: Kind, group_id: int, target: Member, actor: Member, method: str, path: str, body: Any = None
    ) -> None:
        asking = partial(self._attempts.ask, actor, method, path, body)
        await self._attempts.change(kind, group_id, target.id, asking)

    # --- ranks and the group itself ---------------------------------------------------------------

    async def _change_rank(self, group_id: int) -> None:
        pair = self._pair(group_id, at_least=2)
        if pair:
            below = RANKS[: rank_of(pair[0], group_id)]
            body: dict[str, str] = {"role": self._chance.choice(below)}
            if self._chance.random() < 0.3:
                body["title"] = f"{self._chance.getrandbits(32):x}"
            await self._attempts.ask(pair[0], "PATCH", f"/groups/{group_id}/members/{pair[1].id}", body)

    async def _revoke(self, group_id: int) -> None:
        maker = self._one(group_id, at_least=1)
        if maker is not None:
            await self._attempts.ask(maker, "DELETE", f"/groups/{group_id}/links")

    async def _rename(self, group_id: int) -> None:
        member = self._one(group_id, at_least=2)
        if member is not None:
            await self._attempts.rename(group_id, member)
