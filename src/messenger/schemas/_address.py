"""Where this process is reached by clients; its own links begin with it."""

from __future__ import annotations


class Address:
    """Set once, when the application is put together: a process serves one installation."""

    __slots__ = ("base",)

    def __init__(self) -> None:
        self.base = ""


ADDRESS = Address()
