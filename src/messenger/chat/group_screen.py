"""The screen for commands for groups."""

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
from messenger.chat.group_commands import HELP, GroupCommands, UsageError
from messenger.chat.talk import Talk
from messenger.client import ClientError


class GroupScreen(ModalScreen[int | None]):
    """Runs commands one after the other, and shows their results; returns the group to open."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Back")]

    def __init__(self, talk: Talk, group_id: int | None) -> None:
        super().__init__()
        self._group_commands = GroupCommands(talk, group_id)
        self._is_busy = False

    def compose(self) -> ComposeResult:
        with Vertical(id="ask"):
            yield Static("Groups", markup=False)
            yield Line(placeholder="Command, such as: create Reading group", id="command")
            yield Static(HELP, id="notice", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#command", Input).focus()

    def action_cancel(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value.strip():
            self._execute(event.value)

    @work
    async def _execute(self, line: str) -> None:
        if self._is_busy:
            # The server may already have received the current command: neither cancel nor repeat it.
            return
        self._is_busy = True
        try:
            done = await self._group_commands.run(line)
        except (ClientError, UsageError) as error:
            text = str(error) if isinstance(error, UsageError) else words.reason(error)
            self.query_one("#notice", Static).update(text)
            return
        finally:
            self._is_busy = False
        if done.opens is not None:
            self.dismiss(done.opens)
            return
        self.query_one("#command", Input).clear()
        self.query_one("#notice", Static).update(done.text)
