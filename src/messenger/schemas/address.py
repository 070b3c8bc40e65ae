"""The base URL of this installation, with which its own links begin."""

from __future__ import annotations


class Address:
    """Set once when the application is created: a process serves one installation."""

    __slots__ = ("base",)

    def __init__(self) -> None:
        self.base = ""


ADDRESS = Address()
