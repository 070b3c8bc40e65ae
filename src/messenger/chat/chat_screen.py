"""The main screen, with conversations and messages."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic
from typing import ClassVar
from uuid import UUID

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, OptionList, Static

from messenger.chat import rows, words
from messenger.chat.answering import answer, is_asking
from messenger.chat.ask import AskScreen
from messenger.chat.composer import Composer
from messenger.chat.group_screen import GroupScreen
from messenger.chat.panes import PeopleList, Transcript
from messenger.chat.talk import Talk
from messenger.client import ClientError
from messenger.schemas.types import StatusName

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
NEXT_STATUS: dict[str, StatusName] = {"online": "away", "away": "busy", "busy": "invisible", "invisible": "online"}


class ChatScreen(Screen[None]):
    """People on the left, the conversation on the right, the connection below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "People"),
        Binding("ctrl+n", "ask", "Add contact", priority=True),
        Binding("f2", "group", "Groups", priority=True),
        Binding("ctrl+y", "answer(True)", "Accept", priority=True),
        Binding("ctrl+b", "answer(False)", "Decline", priority=True),
        Binding("ctrl+g", "again", "Send again", priority=True),
        Binding("ctrl+t", "status", "My status", priority=True),
        Binding("ctrl+r", "reconnect", "Reconnect", priority=True),
        Binding("ctrl+o", "app.sign_out", "Sign out", priority=True),
        Binding("ctrl+q", "app.leave", "Quit", priority=True),
    ]

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self.talk = talk
        self.peer: int | None = None
        self._drafts: dict[int, str] = {}
        self._is_stale = False
        self._pause = _SHORTEST_PAUSE
        self._expiry: Timer | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            yield PeopleList(id="people", markup=False)
            with Vertical(id="talk"):
                yield Static(id="headline", markup=False)
                yield Transcript()
                yield Composer()
        yield Static(id="connection", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(PeopleList).focus()
        self.set_interval(30, self._grow_old)
        self.show()

    # --- drawing ---

    def changed(self) -> None:
        """Schedule one redraw for all changes that arrive until then."""
        if not self._is_stale:
            self._is_stale = True
            self.set_timer(self._pause, self.show)

    def _grow_old(self) -> None:
        """Update relative times such as "5 min ago"."""
        self.talk.look_again()
        self.changed()

    def show(self, *, from_the_end: bool = False) -> None:
        """Redraw all parts."""
        self._is_stale = False
        if not self.is_mounted:
            return
        talk = self.talk
        self.call_after_refresh(self._measure, monotonic())
        self._await_expiry()
        self.query_one(PeopleList).show(rows.people(talk))
        self.query_one("#connection", Static).update(rows.connection(talk))
        if self.peer is None:
            hint = "Select a conversation with the arrow keys and enter, or add a contact with ctrl+n."
            self.query_one("#headline", Static).update(hint)
        else:
            self.query_one("#headline", Static).update(rows.headline(talk, self.peer))
            self.query_one(Transcript).show(rows.transcript(talk, self.peer), from_the_end=from_the_end)
            self.call_after_refresh(self._read)
        self.refresh_bindings()

    def _measure(self, began: float) -> None:
        """Leave time for key presses between redraws of a conversation that takes long to draw."""
        self._pause = min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * (monotonic() - began)))

    def _await_expiry(self) -> None:
        """Empty expired messages, and redraw when the next message expires."""
        if self._expiry is not None:
            self._expiry.stop()
        seconds = self.talk.expire()
        self._expiry = None if seconds is None else self.set_timer(max(seconds, 0.01), self.changed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "answer":
            peer = self._asking()
            return peer is not None
        if action == "again":
            return self.peer is not None and bool(self.talk.refused(self.peer))
        if action == "reconnect":
            return self.talk.is_elsewhere or self.talk.status == "waiting"
        return True

    def _read(self) -> None:
        """Mark the conversation as read if the user can see its end."""
        if self.peer is not None and self.app.app_focus and self.is_current and self.query_one(Transcript).is_at_end:
            self.talk.read(self.peer)

    # --- selecting and writing ---

    @on(OptionList.OptionHighlighted, "#people")
    def _on_highlighted(self) -> None:
        # The available keys depend on the row.
        self.refresh_bindings()

    @on(OptionList.OptionSelected, "#people")
    def _on_chosen(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            self.open(int(event.option_id))

    def open(self, peer: int) -> None:
        """Show a conversation and focus its input field."""
        composer = self.query_one(Composer)
        if self.peer is not None and self.peer != peer:
            self.talk.write(self.peer, writing=False)
            self._drafts[self.peer] = composer.text if composer.editing is None else ""
        if self.peer != peer:
            composer.write(self._drafts.pop(peer, ""))
        self.peer = peer
        composer.disabled = False
        composer.focus()
        self.show(from_the_end=True)
        self._load(peer)

    @work(exclusive=True, group="load")
    async def _load(self, peer: int) -> None:
        if await self._try(self.talk.open(peer)):
            self.show(from_the_end=True)

    @on(Composer.Changed, "#composer")
    def _on_writing(self) -> None:
        composer = self.query_one(Composer)
        if self.peer is not None and composer.editing is None:
            self.talk.write(self.peer, writing=bool(composer.text))

    @on(Composer.Submitted)
    def _submitted(self, event: Composer.Submitted) -> None:
        if self.peer is None:
            return
        if event.editing is not None:
            self._change(self.peer, event.editing, event.text)
        else:
            self.talk.send(self.peer, event.text)
        self.query_one(Transcript).follow_end()
        self.changed()

    @on(Composer.EditWanted)
    def _on_edit(self) -> None:
        last = self.talk.own_last(self.peer) if self.peer is not None else None
        if last is not None and last.body is not None:
            self.query_one(Composer).write(last.body, last.id)
            self.app.notify("Enter saves; an empty text deletes the message; escape cancels.", markup=False)

    @work(group="change")
    async def _change(self, peer: int, message_id: UUID, text: str) -> None:
        is_done = await self._try(self.talk.change(message_id, text))
        composer = self.query_one(Composer)
        if not is_done and self.peer == peer and not composer.text:
            composer.write(text, message_id)

    @on(Composer.ScrollWanted)
    def _on_scroll(self, event: Composer.ScrollWanted) -> None:
        transcript = self.query_one(Transcript)
        if event.direction < 0:
            transcript.action_page_up()
        else:
            transcript.action_page_down()
            self.call_after_refresh(self._read)

    @on(Transcript.OlderWanted)
    def _on_older(self) -> None:
        if self.peer is not None:
            self._load_older(self.peer)

    @work(exclusive=True, group="older")
    async def _load_older(self, peer: int) -> None:
        await self._try(self.talk.load_older(peer))

    # --- keys ---

    def action_back(self) -> None:
        composer = self.query_one(Composer)
        if composer.editing is not None:
            composer.write("")
            return
        self.query_one(PeopleList).focus()

    async def action_ask(self) -> None:
        def opened(peer: int | None) -> None:
            if peer is not None:
                self.open(peer)

        # The next keys go to that screen.
        await self.app.push_screen(AskScreen(self.talk), opened)

    async def action_group(self) -> None:
        def opened(group: int | None) -> None:
            if group is not None:
                self.open(group)
            self.changed()

        await self.app.push_screen(GroupScreen(self.talk, self.peer), opened)

    def action_answer(self, accept: bool) -> None:
        peer = self._asking()
        if peer is not None:
            self._answer(peer, accept)

    @work(group="answer")
    async def _answer(self, peer: int, accept: bool) -> None:
        if await self._try(answer(self.talk, peer, accept=accept)) and accept:
            self.open(peer)

    def _asking(self) -> int | None:
        """The user whose request, or the group whose invitation, is highlighted in the list or open."""
        for peer in (self.query_one(PeopleList).chosen if self.is_mounted else None, self.peer):
            if peer is not None and is_asking(self.talk, peer):
                return peer
        return None

    def action_again(self) -> None:
        if self.peer is not None:
            for message in self.talk.refused(self.peer):
                self.talk.outbox.retry(message)

    def action_status(self) -> None:
        profile = self.talk.state.profile
        self._set_status(NEXT_STATUS[profile.status if profile else "invisible"])

    @work(exclusive=True, group="status")
    async def _set_status(self, status: StatusName) -> None:
        await self._try(self.talk.client.set_presence(status=status))

    def action_reconnect(self) -> None:
        self.talk.reconnect()

    async def _try(self, work: Awaitable[object]) -> bool:
        """Await a call; on failure show the reason and return False."""
        try:
            await work
        except ClientError as error:
            self.app.notify(words.reason(error), severity="warning", markup=False)
            return False
        return True
