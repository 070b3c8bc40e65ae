"""The chat screen's parts: the list of people, the transcript, the line to write in."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from messenger.chat.rows import Row


class PeopleList(OptionList):
    """People by their numbers; keeps the one that is chosen while rows come, go and change places."""

    def show(self, rows: list[Row]) -> None:
        """Show these rows."""
        ids = [str(peer) for peer, _ in rows]
        if ids == [option.id for option in self.options]:
            for (_, prompt), option in zip(rows, self.options, strict=True):
                if option.prompt != prompt:
                    self.replace_option_prompt(str(option.id), prompt)
            return
        chosen = self.chosen
        self.clear_options()
        self.add_options([Option(prompt, id=str(peer)) for peer, prompt in rows])
        if str(chosen) in ids:
            self.highlighted = ids.index(str(chosen))

    @property
    def chosen(self) -> int | None:
        """Whose row is highlighted."""
        option = self.highlighted_option
        return int(option.id) if option is not None and option.id is not None else None


class Transcript(VerticalScroll):
    """A conversation; stays at its end while one is there, and where it is otherwise."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("home", "older", "Older messages")]

    class OlderWanted(Message):
        """The user is at the top."""

    def compose(self) -> ComposeResult:
        yield Static(id="messages", markup=False)

    @property
    def is_at_end(self) -> bool:
        """Whether the newest message is in sight."""
        return self.max_scroll_y - self.scroll_y < 1

    def show(self, content: Content, *, from_the_end: bool = False) -> None:
        """Show it: at the end, or with what was in sight still in sight though older messages came before it."""
        at_end, below = self.is_at_end, self.max_scroll_y - self.scroll_y
        self.query_one("#messages", Static).update(content)
        if at_end or from_the_end:
            self.call_after_refresh(self.scroll_end, animate=False)
        else:
            self.call_after_refresh(self._stay, below)

    def _stay(self, below: float) -> None:
        self.scroll_to(y=self.max_scroll_y - below, animate=False)

    def action_older(self) -> None:
        self.scroll_home(animate=False)
        self.post_message(self.OlderWanted())

    def action_page_up(self) -> None:
        if self.scroll_y <= 0:
            self.post_message(self.OlderWanted())
        super().action_page_up()


class Composer(Input):
    """One line to write in; the arrow up takes one's last message back into it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "edit_last", "Edit last"),
        Binding("pageup", "scroll_transcript(-1)", "Scroll", show=False),
        Binding("pagedown", "scroll_transcript(1)", "Scroll", show=False),
    ]

    class EditWanted(Message):
        """The user wants to change what they said last."""

    class ScrollWanted(Message):
        """A page up (-1) or down (1)."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def action_edit_last(self) -> None:
        if not self.value:
            self.post_message(self.EditWanted())

    def action_scroll_transcript(self, direction: int) -> None:
        self.post_message(self.ScrollWanted(direction))
