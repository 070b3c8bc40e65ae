"""Parts of the main screen: the list of people and the transcript."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from messenger.chat.rows import Entry, Row


class PeopleList(OptionList):
    """The list of people; keeps the selected row when rows are added, removed or reordered."""

    def show(self, rows: list[Row]) -> None:
        """Replace the rows."""
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
        """The user id of the highlighted row."""
        option = self.highlighted_option
        return int(option.id) if option is not None and option.id is not None else None


class Transcript(VerticalScroll):
    """A conversation; follows its end while scrolled there, and otherwise keeps the visible entry in place."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("home", "older", "Older messages")]

    class OlderWanted(Message):
        """The user scrolled to the top."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self._entries: list[Entry] = []
        self._laid_out: list[Entry] = []
        self._width = 0
        self._is_pending = False
        self._follows = True

    def compose(self) -> ComposeResult:
        yield Static(id="messages", markup=False)

    @property
    def is_at_end(self) -> bool:
        """Whether the newest message is visible."""
        return self.max_scroll_y - self.scroll_y < 1

    def follow_end(self) -> None:
        """Scroll to the end from the next update on."""
        self._follows = True

    def show(self, entries: list[Entry], *, from_the_end: bool = False) -> None:
        """Show these entries, at the end or with the first visible entry in its place."""
        self._follows = self._follows or from_the_end
        self._entries = entries
        self.query_one("#messages", Static).update(Content("\n").join(content for _, content in entries))
        self._place_later()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following the end when the user scrolls away from it; resume when they return."""
        super().watch_scroll_y(old_value, new_value)
        if not self._is_pending:
            self._follows = self.is_at_end

    def _on_resize(self) -> None:
        # A taller composer hides lines at the bottom; a narrower window wraps into more lines.
        self._place_later()

    def _place_later(self) -> None:
        if not self._is_pending:
            # Once per layout: until the next layout, positions are those of `_laid_out`.
            self._is_pending = True
            self.call_after_refresh(self._place)

    def _place(self) -> None:
        width = self.query_one("#messages", Static).size.width
        y = self.max_scroll_y if self._follows else self.scroll_y + self._shift(width)
        self._laid_out, self._width = self._entries, width
        self.scroll_to(y=y, animate=False, immediate=True)
        self._is_pending = False

    def _shift(self, width: int) -> int:
        """How many lines the first visible entry has moved since the last layout."""
        now = dict(_tops(self._entries, width))
        before = [(key, top) for key, top in _tops(self._laid_out, self._width) if key in now]
        if not before:
            return 0
        key, top = next((each for each in reversed(before) if each[1] <= self.scroll_y), before[0])
        return now[key] - top

    def action_older(self) -> None:
        self._follows = False
        self.scroll_home(animate=False)
        self.post_message(self.OlderWanted())

    def action_page_up(self) -> None:
        if self.scroll_y <= 0:
            self.post_message(self.OlderWanted())
        self._follows = False
        self.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.scroll_page_down(animate=False)


def _tops(entries: list[Entry], width: int) -> Iterator[tuple[str, int]]:
    """The line on which each entry begins."""
    top = 0
    for key, content in entries:
        yield key, top
        top += content.get_height({}, width)
