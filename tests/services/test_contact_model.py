"""Contacts compared with a model: any sequential or concurrent steps of two users leave a legal pair."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messenger.container import Container
from messenger.errors import ContactBlocked, MessengerError, NoPendingRequest
from messenger.models import Edges
from messenger.policies import LEGAL
from messenger.schemas.users import ConfirmDraft, SubscribeDraft
from messenger.testing import Factory, Person
from tests.support.tables import event_data, rows

# The model, independent of the code: a pair as the actor sees it (own edge / peer's edge), and the result of each
# step. A name is a refusal.
NONE, ASKED, ASKING, MUTUAL = "-/-", "in/out", "out/in", "mutual/mutual"
BLOCKING, BLOCKED, BOTH = "blocked/-", "-/blocked", "blocked/blocked"
BLOCKING_ASKER, ASKING_BLOCKER = "blocked/out", "out/blocked"
STATES = (NONE, ASKED, ASKING, MUTUAL, BLOCKING, BLOCKED, BOTH, BLOCKING_ASKER, ASKING_BLOCKER)
REFUSED, NOTHING_THERE = ContactBlocked.__name__, NoPendingRequest.__name__

STEPS = {
    "subscribe": (ASKING, MUTUAL, ASKING, MUTUAL, REFUSED, ASKING_BLOCKER, REFUSED, REFUSED, ASKING_BLOCKER),
    "accept": (NOTHING_THERE, MUTUAL, *[NOTHING_THERE] * 7),
    "decline": (NOTHING_THERE, NONE, *[NOTHING_THERE] * 7),
    "unsubscribe": (NONE, NONE, NONE, NONE, BLOCKING, BLOCKED, BOTH, BLOCKING_ASKER, BLOCKED),
    "block": (BLOCKING, BLOCKING_ASKER, BLOCKING, BLOCKING, BLOCKING, BOTH, BOTH, BLOCKING_ASKER, BOTH),
    "unblock": (NONE, ASKED, ASKING, MUTUAL, NONE, BLOCKED, BLOCKED, ASKED, ASKING_BLOCKER),
}
# How to bring two strangers into a state, by own steps or by the peer's.
WAYS: dict[str, tuple[tuple[int, str], ...]] = {
    NONE: (),
    ASKED: ((1, "subscribe"),),
    ASKING: ((0, "subscribe"),),
    MUTUAL: ((0, "subscribe"), (1, "accept")),
    BLOCKING: ((0, "block"),),
    BLOCKED: ((1, "block"),),
    BOTH: ((0, "block"), (1, "block")),
    BLOCKING_ASKER: ((1, "subscribe"), (0, "block")),
    ASKING_BLOCKER: ((0, "subscribe"), (1, "block")),
}
_SHORT = {None: "-", "pending_in": "in", "pending_out": "out"}

Actors = st.integers(min_value=0, max_value=1)
Names = st.sampled_from(sorted(STEPS))

# Fixtures may be shared by examples: each example creates users of its own. Derandomized, so that failures repeat.
examples = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def turned(state: str) -> str:
    """The same pair as the peer sees it."""
    mine, theirs = state.split("/")
    return f"{theirs}/{mine}"


def expected(state: str, actor: int, step: str) -> tuple[str, str | None]:
    """The state after a step, as the first user sees it, and the refusal if any."""
    seen = turned(state) if actor else state
    after = STEPS[step][STATES.index(seen)]
    if after not in STATES:
        return state, after
    return (turned(after) if actor else after), None


async def act(container: Container, pair: tuple[Person, Person], actor: int, step: str) -> str | None:
    """Take a step; return the name of the refusal, or None."""
    me, other = pair[actor].actor, pair[1 - actor].id
    contacts = container.services.contacts
    calls = {
        "subscribe": lambda: contacts.subscribe(me, SubscribeDraft(target_id=other)),
        "accept": lambda: contacts.confirm(me, ConfirmDraft(target_id=other)),
        "decline": lambda: contacts.confirm(me, ConfirmDraft(target_id=other, accept=False)),
        "unsubscribe": lambda: contacts.unsubscribe(me, other),
        "block": lambda: contacts.block(me, other),
        "unblock": lambda: contacts.unblock(me, other),
    }
    try:
        await calls[step]()
    except MessengerError as error:
        return type(error).__name__
    return None


async def edges(container: Container, pair: tuple[Person, Person]) -> Edges:
    """Both rows as stored."""
    one, other = pair
    found = await rows(
        container,
        "SELECT owner_id, state FROM contacts WHERE (owner_id, target_id) IN (($1, $2), ($2, $1))",
        one.id,
        other.id,
    )
    states = {row["owner_id"]: row["state"] for row in found}
    return Edges(states.get(one.id), states.get(other.id))


async def state_of(container: Container, pair: tuple[Person, Person]) -> str:
    """The state of the pair, as the first user sees it; always a legal one."""
    both = await edges(container, pair)
    assert both in LEGAL
    return "/".join(_SHORT.get(edge, edge or "") for edge in (both.mine, both.theirs))


async def strangers(make: Factory) -> tuple[Person, Person]:
    one, other = await make.people(2)
    return one, other


async def events_of(container: Container, pair: tuple[Person, Person]) -> list[int]:
    return [len(await event_data(container, person, "contact.updated")) for person in pair]


def changed_sides(before: str, after: str) -> list[bool]:
    return [old != new for old, new in zip(before.split("/"), after.split("/"), strict=True)]


class TestModel:
    def test_model_has_nine_legal_states(self) -> None:
        long = {short: name for name, short in _SHORT.items()}
        pairs = {Edges(*(long.get(edge, edge) for edge in state.split("/"))) for state in STATES}
        assert pairs == LEGAL

    @pytest.mark.parametrize("state", STATES)
    def test_model_reaches_each_state(self, state: str) -> None:
        reached = NONE
        for actor, step in WAYS[state]:
            reached, _ = expected(reached, actor, step)
        assert reached == state


class TestSequentialSteps:
    @examples
    @given(steps=st.lists(st.tuples(Actors, Names), min_size=1, max_size=12))
    async def test_each_step_matches_model_and_notifies_changed_sides(
        self, container: Container, make: Factory, steps: list[tuple[int, str]]
    ) -> None:
        pair, state = await strangers(make), NONE
        for actor, step in steps:
            before, counts = state, await events_of(container, pair)
            state, refusal = expected(state, actor, step)
            assert await act(container, pair, actor, step) == refusal
            assert await state_of(container, pair) == state
            sides = changed_sides(before, state)
            assert await events_of(container, pair) == [n + new for n, new in zip(counts, sides, strict=True)]

    @pytest.mark.parametrize("state", STATES)
    @pytest.mark.parametrize("step", STEPS)
    async def test_every_step_in_every_state_matches_model(
        self, container: Container, make: Factory, state: str, step: str
    ) -> None:
        pair = await strangers(make)
        for way in WAYS[state]:
            await act(container, pair, *way)
        after, refusal = expected(state, 0, step)
        assert await act(container, pair, 0, step) == refusal
        assert await state_of(container, pair) == after


class TestConcurrentSteps:
    @examples
    @given(
        state=st.sampled_from(STATES),
        actors=st.sampled_from([(0, 1), (1, 0), (0, 0)]),
        steps=st.tuples(Names, Names),
    )
    async def test_concurrent_steps_end_like_either_order(
        self, container: Container, make: Factory, state: str, actors: tuple[int, int], steps: tuple[str, str]
    ) -> None:
        pair = await strangers(make)
        for way in WAYS[state]:
            await act(container, pair, *way)
        refusals = await asyncio.gather(*[act(container, pair, *each) for each in zip(actors, steps, strict=True)])
        middle, first = expected(state, actors[0], steps[0])
        end, second = expected(middle, actors[1], steps[1])
        middle, late = expected(state, actors[1], steps[1])
        other_end, early = expected(middle, actors[0], steps[0])
        outcome = (await state_of(container, pair), refusals)
        assert outcome in [(end, [first, second]), (other_end, [early, late])]

    async def test_many_concurrent_steps_leave_legal_pair(self, container: Container, make: Factory) -> None:
        pair = await strangers(make)
        await asyncio.gather(*[act(container, pair, actor, step) for step in STEPS for actor in (0, 1)])
        assert await edges(container, pair) in LEGAL
