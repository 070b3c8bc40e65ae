"""Handle keys and pastes in the order typed, however fast they arrive."""

from __future__ import annotations

import asyncio
from typing import Any

from textual import events
from textual.app import App, ScreenStackError
from textual.dom import DOMNode
from textual.widgets import Input, TextArea

# A widget that is being removed may never respond; later keys must not wait for it.
_PATIENCE = 1.0
# A key bubbles up to the application, whose action posts a message that bubbles up again.
_ROUNDS = 2


class OrderedKeys(App[None]):
    """An application that finishes handling one key before it starts the next.

    Textual inserts a printable key at once, but sends every other key through the queues of all ancestors before its
    binding runs, so that letters typed after Enter overtake it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._typed: asyncio.Queue[events.Key | events.Paste] = asyncio.Queue()

    def _on_mount(self) -> None:
        self.run_worker(self._dispatch_typed(), group="keys")

    async def on_event(self, event: events.Event) -> None:
        """Queue keys and pastes; handle all other events as usual."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._typed.put_nowait(event)
        else:
            await super().on_event(event)

    async def _dispatch_typed(self) -> None:
        while True:
            event = await self._typed.get()
            if self._is_text(event):
                await super().on_event(event)
            else:
                # Earlier text must be inserted before it, later text after its effect.
                await self._settle()
                await super().on_event(event)
                await self._settle()

    def _is_text(self, event: events.Key | events.Paste) -> bool:
        """Whether it goes to a text field, whose own queue preserves the order."""
        is_text = isinstance(event, events.Paste) or event.is_printable
        return is_text and isinstance(self._focused(), Input | TextArea)

    def _focused(self) -> DOMNode:
        try:
            return self.focused or self.screen
        except ScreenStackError:
            return self

    async def _settle(self) -> None:
        """Wait until the focused widget and its ancestors have processed their queues."""
        for _ in range(_ROUNDS):
            for node in self._focused().ancestors_with_self:
                handled = asyncio.Event()
                if node.call_later(handled.set):
                    await _or_timeout(handled)


async def _or_timeout(handled: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_PATIENCE):
            await handled.wait()
    except TimeoutError:
        return
