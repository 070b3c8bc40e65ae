"""The input field for messages."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, TextArea

MAX_BYTES = 65536


class Composer(TextArea):
    """A message of one or more lines: Enter sends it, pasted text keeps its lines, Up edits the last sent message."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "edit_last", "Edit last"),
        Binding("ctrl+j,shift+enter,alt+enter", "new_line", "New line", show=False),
        Binding("pageup", "scroll_transcript(-1)", "Scroll", show=False),
        Binding("pagedown", "scroll_transcript(1)", "Scroll", show=False),
    ]

    class Submitted(Message):
        """The user pressed Enter. `editing`: the message to replace, if any."""

        def __init__(self, text: str, editing: UUID | None) -> None:
            super().__init__()
            self.text = text
            self.editing = editing

    class EditWanted(Message):
        """The user asked to edit the last message that they sent."""

    class ScrollWanted(Message):
        """A page up (-1) or down (1)."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def __init__(self) -> None:
        super().__init__(
            id="composer", placeholder="Write, and press enter", disabled=True, highlight_cursor_line=False
        )
        self.editing: UUID | None = None

    def write(self, text: str, editing: UUID | None = None) -> None:
        """Replace the text and move the cursor to its end."""
        self.editing = editing
        self.text = text
        self.move_cursor(self.document.end)

    def _on_key(self, event: events.Key) -> None:  # type: ignore[override]
        # Textual calls the handlers of all base classes: prevent TextArea from inserting a line break.
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._submit()

    def _submit(self) -> None:
        # Read and clear in one step, so that no key is lost in between.
        text = self.text.rstrip().lstrip("\n")
        if len(text.encode()) > MAX_BYTES:
            self.app.notify("A message is limited to 64 KiB.", severity="warning", markup=False)
            return
        if text.strip() or self.editing is not None:
            self.post_message(self.Submitted(text, self.editing))
        self.write("")

    def action_edit_last(self) -> None:
        if self.text:
            self.action_cursor_up()
        else:
            self.post_message(self.EditWanted())

    def action_new_line(self) -> None:
        self.insert("\n")

    def action_scroll_transcript(self, direction: int) -> None:
        self.post_message(self.ScrollWanted(direction))


class Line(Input):
    """A single-line field; lines of pasted text are joined by spaces."""

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self.replace(" ".join(event.text.splitlines()), *self.selection)
