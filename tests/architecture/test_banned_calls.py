"""The lint that confines SQLAlchemy sessions to repositories: it detects violations, and finds none here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("banned_calls", ROOT / "tools" / "banned_calls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


banned_calls = _load()


@pytest.mark.parametrize(
    "source",
    [
        "from sqlalchemy.ext.asyncio import AsyncSession",
        "from sqlalchemy.orm import sessionmaker",
        "async def f(session): await session.merge(user)",
        "async def f(self): await self._session.refresh(user)",
        "def f(session): session.expunge(user)",
        "def f(session): session.add(user)",
        "def f(db): db.add_all([user])",
        "async def f(uow): await uow.session.execute(statement)",
        "def f(anything): anything.merge(user)",
        "from x import y\ny.make_transient(user)",
    ],
)
def test_session_method_in_service_is_refused(source: str) -> None:
    assert list(banned_calls.faults(source, "src/messenger/services/users.py"))


@pytest.mark.parametrize("source", ["def f(session): session.merge(user)", "def f(session): session.refresh(user)"])
def test_merge_in_repository_is_refused(source: str) -> None:
    assert list(banned_calls.faults(source, "src/messenger/repositories/users.py"))


def test_methods_of_other_objects_are_allowed() -> None:
    source = "async def f(services): await services.devices.refresh(token)\nkeys = set()\nkeys.add(1)"
    assert not list(banned_calls.faults(source, "src/messenger/controllers/accounts.py"))


def test_package_calls_no_banned_methods() -> None:
    assert banned_calls.main(ROOT / "src") == 0
