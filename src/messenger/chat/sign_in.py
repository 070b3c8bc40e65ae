"""The screen for sign-in and registration."""

from __future__ import annotations

import platform
import uuid
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
from messenger.chat.composer import Line
from messenger.client import Client, ClientError


class SignInScreen(Screen[None]):
    """Asks for a username and a password, and posts `SignedIn`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "change_kind", "Create account / sign in", priority=True),
        Binding("ctrl+q", "app.leave", "Quit", priority=True),
    ]

    class SignedIn(Message):
        """Sign-in succeeded; the client has tokens."""

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
        self._is_asking = False
        self._keys: dict[tuple[str, ...], str] = {}
        """An `Idempotency-Key` for each form: sending it again after a lost response creates no second account."""

    def compose(self) -> ComposeResult:
        with Center(), Vertical(id="form"):
            yield Static(id="what", markup=False)
            yield Label(self._url, id="url", markup=False)
            yield Line(self._username, placeholder="Username", id="username")
            yield Line(placeholder="Password", password=True, id="password")
            yield Line(placeholder="Display name", id="name")
            yield Static(self._notice, id="notice", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._show_form()
        self.query_one("#password" if self._username else "#username", Input).focus()

    def _show_form(self) -> None:
        what = "Create an account" if self._new else "Sign in"
        self.query_one("#what", Static).update(f"{what} (press enter to continue)")
        self.query_one("#name", Input).display = self._new

    def action_change_kind(self) -> None:
        self._new = not self._new
        self._show_form()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        """Go to the next field; from the last one, submit the form or go to the first empty field."""
        event.stop()
        fields = [field for field in self.query(Line) if field.display]
        following = fields[fields.index(self.query_one(f"#{event.input.id}", Line)) + 1 :]
        empty = [field for field in fields if not field.value.strip() and field.id != "name"]
        if following:
            following[0].focus()
        elif empty:
            empty[0].focus()
        else:
            self._ask()

    @work
    async def _ask(self) -> None:
        if self._is_asking:
            # The current request may already have created the account: neither cancel nor repeat it.
            return
        self._is_asking = True
        try:
            await self._sign_in()
        finally:
            self._is_asking = False

    async def _sign_in(self) -> None:
        username, password, name = (self.query_one(f"#{id}", Line).value for id in ("username", "password", "name"))
        username, name = username.strip(), name.strip()
        self._say("Signing in …")
        client = self._connect()
        device = f"Terminal on {platform.node() or 'a computer'}"[:64]
        form = ("register", username, password, name) if self._new else ("login", username, password)
        key = self._keys.setdefault(form, str(uuid.uuid4()))
        try:
            if self._new:
                view = await client.register(
                    username, password, name=name or None, device_name=device, idempotency_key=key
                )
            else:
                view = await client.login(username, password, device_name=device, idempotency_key=key)
        except ClientError as error:
            await client.aclose()
            if not error.may_have_happened:
                del self._keys[form]
            self._say(words.reason(error))
            return
        self.query_one("#password", Line).value = ""
        self.post_message(self.SignedIn(client, view.user.username or username))

    def _say(self, text: str) -> None:
        self.query_one("#notice", Static).update(text)
