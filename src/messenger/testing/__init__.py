"""For those who test on this package: a real database, people, a client, and what was said on the wire.

`pytest_plugins = ["messenger.testing.plugin"]` in a `conftest.py` brings the fixtures. Tests isolate themselves by
making people of their own; one that counts whole tables asks for `fresh_database_url`.
"""

from messenger.testing.factories import Factory, Person
from messenger.testing.statements import StatementLog

__all__ = ["Factory", "Person", "StatementLog"]
