"""Users and their devices at a server; what they send, and the outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from random import Random
from typing import Any
from uuid import UUID, uuid4

import msgspec

from messenger.client import ApiError, Client, ClientError, OutcomeUnknown, SignedOut, Unreachable
from messenger.testing.conversations import Pair, group, pair
from messenger.testing.factories import PASSWORD
from messenger.testing.recorder import Recorder
from tests.support.answers import REFUSALS
from tests.support.device import PATIENT, QUICK, Device
from tests.support.group_changes import ChangeRecorder
from tests.support.proxy import Address, Proxy

# Refusals that are valid during a fault; every other refusal is an error of the server or of the test.
_EXPECTED = REFUSALS | frozenset(
    {
        "contact_blocked",
        "database_unavailable",
        "device_not_found",
        "message_deleted",
        "message_not_found",
        "no_pending_request",
        "not_a_contact",
    }
)


class Member:
    """A user with all devices, also signed-out ones; `partner` is the user to whom they write."""

    def __init__(self, user_id: int) -> None:
        self.id = user_id
        self.devices: list[Device] = []
        self.partner = self

    @property
    def signed_in(self) -> list[Device]:
        """Devices that have not been signed out."""
        return [device for device in self.devices if not device.signed_out]


class Draft(msgspec.Struct, frozen=True):
    """A message, the same at each attempt."""

    sender: Member
    client_id: str
    body: str
    reply_to: UUID | None
    target_id: int

    @property
    def is_for_group(self) -> bool:
        """Whether it goes to a group, not to the partner."""
        return self.target_id != self.sender.partner.id


class Population:
    """`leaving`: devices that are being signed out, and may be gone. `problems`: violations, as they were seen.
    `changes`: those of groups.
    """

    has_groups = False
    """Whether they talk in groups, too."""
    signals_get_lost = False
    """Whether the bus may lose signals, so that presence may be wrong."""
    stay_contacts = True
    """Whether all pairs are contacts all the time: receipts are only sent to contacts."""

    def __init__(self, seed: str, stack: AsyncExitStack) -> None:
        self.seed = seed
        self.recorder = Recorder()
        self.members: list[Member] = []
        self.leaving: set[Device] = set()
        self.drafts: dict[str, Draft] = {}
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []
        self.changes = ChangeRecorder()
        self._users: set[int] = set()
        self._stack = stack

    # --- the server ---

    def address(self, chance: Random) -> Address:
        """The address to which a device connects."""
        raise NotImplementedError

    def proxy(self, chance: Random) -> Proxy:
        """The proxy of a device."""
        return Proxy(self.address(chance))

    def heal(self) -> None:
        """End all faults of the server."""

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Query the server's database."""
        raise NotImplementedError

    # --- users and devices ---

    async def meet(self, devices: tuple[int, int], chance: Random) -> None:
        """Two new users with this many devices each, who are contacts."""
        one, other = [await self._arrive(count, chance) for count in devices]
        one.partner, other.partner = other, one
        await one.devices[0].client.subscribe(other.id)
        await other.devices[0].client.confirm(one.id)

    async def _arrive(self, devices: int, chance: Random) -> Member:
        proxy, client = await self._client(chance)
        signed_in = await client.register(f"p{uuid4().hex[:12]}", PASSWORD)
        member = Member(signed_in.user.id)
        self.members.append(member)
        self._users.add(member.id)
        await self._device(member, proxy, client, signed_in.device.id)
        for _ in range(devices - 1):
            await self.join(member, chance)
        for device in member.devices:
            device.holds_all = True
        return member

    async def join(self, member: Member, chance: Random) -> Device:
        """Sign in one more device, load its state, and listen. Raises `ClientError`."""
        proxy, client = await self._client(chance)
        signed_in = await client.login(str(member.id), PASSWORD)
        return await self._device(member, proxy, client, signed_in.device.id)

    async def fresh_client(self, member: Member, stack: AsyncExitStack) -> Client:
        """A login that reads the current state, past all proxies."""
        host, port = self.address(Random(self.seed))
        client = Client(f"http://{host}:{port}", timing=PATIENT)
        stack.push_async_callback(client.aclose)
        await client.login(str(member.id), PASSWORD)
        return client

    async def _client(self, chance: Random) -> tuple[Proxy, Client]:
        proxy = await self._stack.enter_async_context(self.proxy(chance))
        encoding = chance.choice(("json", "msgpack"))
        client = Client(proxy.url, timing=QUICK, encoding=encoding)  # type: ignore[arg-type]
        self._stack.push_async_callback(client.aclose)
        return proxy, client

    async def _device(self, member: Member, proxy: Proxy, client: Client, device_id: UUID) -> Device:
        loaded = await client.load_state(messages=None, members=True)
        name = f"{self.members.index(member) + 1}/{len(member.devices) + 1}"
        device = Device(name, device_id, client, proxy, loaded, self.conversation)
        member.devices.append(device)
        self._stack.push_async_callback(device.aclose)
        await device.listen()
        return device

    @property
    def devices(self) -> list[Device]:
        return [device for member in self.members for device in member.devices]

    def member(self, device: Device) -> Member:
        """The user of a device."""
        return next(member for member in self.members if device in member.devices)

    # --- actions ---

    def conversation(self, user_id: int, target_id: int) -> Pair:
        """The conversation in which these messages of a user are: what is nobody of the users is a group."""
        return pair(user_id, target_id) if target_id in self._users else group(target_id)

    def draft(self, member: Member, body: str, *, reply_to: UUID | None = None, target_id: int | None = None) -> Draft:
        """A message to the partner, or to a group."""
        target_id = member.partner.id if target_id is None else target_id
        draft = Draft(member, f"{self.seed}-{len(self.drafts)}", body, reply_to, target_id)
        self.drafts[draft.client_id] = draft
        return draft

    async def send(self, device: Device, draft: Draft, *, within: float) -> None:
        """Try to send it, and record the outcome. Raises `ClientError`."""
        self.recorder.invoke(draft.client_id, self.conversation(draft.sender.id, draft.target_id))
        try:
            message = await device.client.send(
                draft.target_id, draft.body, client_id=draft.client_id, within=within, reply_to=draft.reply_to
            )
        except ClientError as error:
            record = self.recorder.unknown if error.may_have_happened else self.recorder.fail
            record(draft.client_id)
            raise
        self.recorder.ok(draft.client_id, message.seq)

    async def attempt(self, device: Device, what: str, doing: Awaitable[object]) -> bool:
        """Try an operation; return whether it succeeded. Refusals are counted, and reported where they
        are not valid.
        """
        try:
            await doing
        except SignedOut as error:
            if device not in self.leaving:
                self.problems.append(f"{device.name} was signed out by nobody: {what}: {error}")
        except (Unreachable, OutcomeUnknown) as error:
            self.outcomes[type(error).__name__] += 1
        except ApiError as error:
            self.outcomes[error.code] += 1
            if error.code not in _EXPECTED:
                self.problems.append(f"{device.name}: {what}: {error}")
        except ClientError as error:
            self.problems.append(f"{device.name}: {what}: {error!r}")
        else:
            self.outcomes[what] += 1
            return True
        return False
