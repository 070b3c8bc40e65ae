"""The screen for contact requests."""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from messenger.chat import words
from messenger.chat.composer import Line
from messenger.chat.talk import Talk
from messenger.client import ClientError
from messenger.schemas.users import PersonView


class AskScreen(ModalScreen[int | None]):
    """Finds a user by username or id and sends a contact request; returns the user's id."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back")]

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self._talk = talk
        self._is_asking = False

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static("Whom do you want to add?", markup=False)
            yield Line(placeholder="Username or number", id="wanted")
            yield Line(placeholder="Message (optional)", id="message", max_length=500)
            yield Static(id="notice", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#wanted", Input).focus()

    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.input.id == "wanted" and event.value.strip():
            self.query_one("#message", Input).focus()
        elif self.query_one("#wanted", Input).value.strip():
            self._ask()

    @work
    async def _ask(self) -> None:
        if self._is_asking:
            # The server may already have received the current request: neither cancel nor repeat it.
            return
        self._is_asking = True
        try:
            await self._find_and_subscribe()
        finally:
            self._is_asking = False

    async def _find_and_subscribe(self) -> None:
        wanted = self.query_one("#wanted", Input).value
        message = self.query_one("#message", Input).value.strip()
        try:
            person: PersonView = await self._talk.find(wanted)
            await self._talk.client.subscribe(person.id, message or None)
        except ClientError as error:
            self.query_one("#notice", Static).update(words.reason(error))
            return
        self.dismiss(person.id)
