"""Fixtures and factories for tests of projects that build on this package.

`pytest_plugins = ["messenger.testing.plugin"]` in a `conftest.py` adds the fixtures. Tests share a database and are
isolated by creating their own users; a test that counts whole tables uses `fresh_database_url`.
"""

from messenger.testing.factories import Factory, Person
from messenger.testing.statements import StatementLog

__all__ = ["Factory", "Person", "StatementLog"]
