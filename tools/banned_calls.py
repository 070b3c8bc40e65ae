"""Refuses sessions outside of the unit of work, and calls that move objects between sessions.

`python tools/banned_calls.py [FOLDER]` prints each fault as `file:line: reason`, and exits with 1 if there are any.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

# These move a mapped object between sessions, or reload it in case of changes by another one.
OBJECT_MOVES = frozenset({"merge", "expunge", "expunge_all", "refresh", "make_transient", "make_transient_to_detached"})
SESSION_NAMES = frozenset({"AsyncSession", "Session", "async_sessionmaker", "sessionmaker", "async_scoped_session"})
SESSION_RECEIVERS = frozenset({"session", "_session", "db", "async_session"})
SESSION_OWNERS = ("unit_of_work.py", "repositories/")


def faults(source: str, path: str) -> Iterator[tuple[int, str]]:
    """The lines of a module that break the rule, with the reason."""
    owner = path.endswith(SESSION_OWNERS[0]) or SESSION_OWNERS[1] in path
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            named = [alias.name for alias in node.names if alias.name in SESSION_NAMES]
            if named and not owner:
                yield node.lineno, f"{named[0]} outside of the unit of work and the repositories"
        elif isinstance(node, ast.Attribute) and _name(node.value) in SESSION_RECEIVERS:
            if node.attr in OBJECT_MOVES:
                yield node.lineno, f"session.{node.attr}(): no object moves between sessions here"
            elif node.attr in {"add", "add_all"} and "repositories/" not in path:
                yield node.lineno, f"session.{node.attr}() outside of a repository"
        elif isinstance(node, ast.Attribute) and node.attr in OBJECT_MOVES - {"refresh"}:
            yield node.lineno, f"{node.attr}(): no object moves between sessions here"
        elif isinstance(node, ast.Attribute) and node.attr == "session" and not owner:
            yield node.lineno, "a session outside of the unit of work and the repositories"


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def main(folder: Path) -> int:
    """Print all faults below `folder`; returns 1 if there are any."""
    count = 0
    for path in sorted(folder.rglob("*.py")):
        for line, why in faults(path.read_text(encoding="utf-8"), path.as_posix()):
            print(f"{path}:{line}: {why}")
            count += 1
    return count


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1] if len(sys.argv) > 1 else "src")) else 0)
