"""Pages whose links hold under any prefix that a proxy takes off."""

from __future__ import annotations

from typing import Any


def relative_to(scope: Any, page: str, folder: str) -> str:
    """The page, whose links begin with `folder/`; that is left out where its own address ends with a slash."""
    path = scope.get("raw_path") or scope["path"].encode()
    return page.replace(f'="{folder}/', '="') if path.endswith(b"/") else page
