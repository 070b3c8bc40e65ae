"""Loaded by a server's Python before everything else: each password hash or comparison appends a byte to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import argon2


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*arguments: Any, **options: Any) -> Any:
        with open(os.environ["ARGON2_CALLS"], "ab") as calls:
            calls.write(b".")
        return call(*arguments, **options)

    return counting


setattr(argon2.PasswordHasher, "hash", _counted(argon2.PasswordHasher.hash))  # noqa: B010
setattr(argon2.PasswordHasher, "verify", _counted(argon2.PasswordHasher.verify))  # noqa: B010
