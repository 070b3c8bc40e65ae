"""The application: selects an account, signs in, and switches between the screens."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import httpx
from textual import on, work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from messenger.chat import words
from messenger.chat.chat_screen import ChatScreen
from messenger.chat.keys import OrderedKeys
from messenger.chat.sign_in import SignInScreen
from messenger.chat.talk import Talk
from messenger.chat.vault import Vault
from messenger.client import Client, ClientError, Outgoing, SignedOut, Timing, Tokens

# A user is waiting: calls fail soon, while messages are retried without limit.
TIMING = Timing(connect=5.0, answer=15.0, patience=4.0, longest_wait=10.0)


class ChatApp(OrderedKeys):
    """The chat application. `forget`: sign out this device on exit."""

    TITLE = "messenger chat"
    CSS_PATH = "chat.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", "Quit", show=False, priority=True)]

    def __init__(
        self,
        url: str,
        *,
        username: str | None,
        vault: Vault,
        forget: bool = False,
        timing: Timing = TIMING,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__()
        self.url = url
        self.username = username or ""
        self.vault = vault
        self.talk: Talk | None = None
        self._forget = forget
        self._timing = timing
        self._transport = transport
        self._has_account = False
        self._warned = False
        self._unsent: dict[str, list[Outgoing]] = {}
        """By username: messages that were unsent when the device was signed out, for the next sign-in."""
        self._is_leaving = False

    async def on_mount(self) -> None:
        username, tokens = self._kept()
        if tokens is None:
            await self._ask(username)
        else:
            self.username, self._has_account = username, True
            self.begin(self.connect(tokens))

    def _kept(self) -> tuple[str, Tokens | None]:
        """The requested account, or the one used last that no other window uses."""
        for username in [self.username] if self.username else self.vault.usernames(self.url):
            tokens = self.vault.open(self.url, username)
            if tokens is not None:
                return username, tokens
        return self.username, None

    def connect(self, tokens: Tokens | None = None) -> Client:
        """Create a client that stores its tokens."""
        return Client(self.url, tokens=tokens, on_tokens=self._keep, timing=self._timing, transport=self._transport)

    def _keep(self, tokens: Tokens | None) -> None:
        # During sign-in the account is not known yet.
        if self._has_account:
            self.vault.keep(self.url, self.username, tokens)

    async def _ask(self, username: str = "", *, notice: str = "") -> None:
        self._has_account = False
        await self._turn_to(SignInScreen(self.url, username, self.connect, notice=notice))

    @on(SignInScreen.SignedIn)
    def _on_signed_in(self, event: SignInScreen.SignedIn) -> None:
        self.username, self._has_account = event.username, True
        self._keep(event.client.tokens)
        self.begin(event.client)

    @work(exclusive=True, group="talk")
    async def begin(self, client: Client) -> None:
        """Run the session until it ends, then show the sign-in screen."""
        screen: ChatScreen | None = None
        talk = self.talk = Talk(client, lambda: screen.changed() if screen is not None else None)
        for message in self._unsent.pop(self.username, []):
            talk.outbox.put(message.target_id, message.body, client_id=message.client_id, **message.options)
        screen = ChatScreen(talk)
        await self._turn_to(screen)
        notice = ""
        try:
            await talk.run()
        except SignedOut:
            notice = "This device was signed out."
        except ClientError as error:
            notice = words.reason(error)
        if talk.outbox.outgoing():
            self._unsent[self.username] = talk.outbox.outgoing()
        await self._end()
        if not self._is_leaving:
            await self._ask(self.username, notice=notice)

    async def _turn_to(self, screen: Screen[Any]) -> None:
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        await self.push_screen(screen)

    async def _end(self) -> None:
        talk, self.talk = self.talk, None
        if talk is not None:
            await talk.aclose()

    # --- keys ---

    async def action_sign_out(self) -> None:
        """Sign out this device and delete its tokens."""
        if self.talk is None:
            return
        try:
            await self.talk.client.logout()
        except ClientError as error:
            self.notify(words.reason(error), severity="warning", markup=False)
            return
        # This ends the session, and `begin` shows the sign-in screen.
        await self._end()

    async def action_leave(self) -> None:
        """Quit; warns once if unsent messages would be lost."""
        talk = self.talk
        unsent = sum(map(len, self._unsent.values())) + (talk.unsent if talk is not None else 0)
        if unsent and not self._warned:
            self._warned = True
            warning = f"{unsent} not sent yet. Press ctrl+q again to quit without sending."
            self.notify(warning, severity="warning", markup=False)
            return
        self._is_leaving = True
        if talk is not None and self._forget:
            with contextlib.suppress(ClientError):
                await talk.client.logout()
        await self._end()
        self.vault.close()
        self.exit()


def run(url: str, *, username: str | None, save: bool) -> None:
    """Run the chat in this terminal."""
    ChatApp(url, username=username, vault=Vault(save=save), forget=not save).run()
