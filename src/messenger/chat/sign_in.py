"""Signing in and signing up."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Label, Static

from messenger.chat import words
from messenger.client import Client, ClientError


class SignInScreen(Screen[None]):
    """Asks for a username and a password, and posts `SignedIn`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "change_kind", "Make an account / sign in", priority=True),
        Binding("ctrl+q", "app.leave", "Quit", priority=True),
        # At once: what is typed behind a tab must not end up in the password, however fast it comes.
        Binding("tab", "app.focus_next", show=False, priority=True),
    ]

    class SignedIn(Message):
        """The client has tokens."""

        def __init__(self, client: Client, username: str) -> None:
            super().__init__()
            self.client = client
            self.username = username

    def __init__(self, url: str, username: str, connect: Callable[[], Client], *, notice: str = "") -> None:
        super().__init__()
        self._url = url
        self._username = username
        self._connect = connect
        self._notice = notice
        self._new = False

    def compose(self) -> ComposeResult:
        with Center(), Vertical(id="form"):
            yield Static(id="what", markup=False)
            yield Label(self._url, id="url", markup=False)
            yield Input(self._username, placeholder="Username", id="username")
            yield Input(placeholder="Password", password=True, id="password")
            yield Input(placeholder="Name that people see", id="name")
            yield Static(self._notice, id="notice", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._show_form()
        self.query_one("#password" if self._username else "#username", Input).focus()

    def _show_form(self) -> None:
        what = "Make an account" if self._new else "Sign in"
        self.query_one("#what", Static).update(f"{what} (enter goes on)")
        self.query_one("#name", Input).display = self._new

    def action_change_kind(self) -> None:
        self._new = not self._new
        self._show_form()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """The next empty line, or on with it."""
        event.stop()
        for line in self.query(Input):
            if line.display and not line.value.strip() and line.id != "name":
                line.focus()
                return
        self._go()

    @work(exclusive=True)
    async def _go(self) -> None:
        username = self.query_one("#username", Input).value.strip()
        password = self.query_one("#password", Input).value
        name = self.query_one("#name", Input).value.strip()
        self._say("One moment …")
        client = self._connect()
        device = f"Terminal on {platform.node() or 'a computer'}"[:64]
        try:
            if self._new:
                view = await client.register(username, password, name=name or None, device_name=device)
            else:
                view = await client.login(username, password, device_name=device)
        except ClientError as error:
            await client.aclose()
            self._say(words.reason(error))
            return
        self.query_one("#password", Input).value = ""
        self.post_message(self.SignedIn(client, view.user.username or username))

    def _say(self, text: str) -> None:
        self.query_one("#notice", Static).update(text)
