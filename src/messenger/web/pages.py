"""Pages whose links work under any path prefix that a proxy strips."""

from __future__ import annotations

from typing import Any


def relative_to(scope: Any, page: str, folder: str) -> str:
    """The page with links that begin with `folder/`, or without it if the page's own URL ends with a slash."""
    path = scope.get("raw_path") or scope["path"].encode()
    return page.replace(f'="{folder}/', '="') if path.endswith(b"/") else page
