"""Checks of settings beyond their types, alone and in combination."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from messenger.database_url import hosts_of
from messenger.public_url import origin_of


class CheckedSettings(Protocol):
    """The settings that are checked here: `messenger.config.Settings`, without importing it."""

    @property
    def secret(self) -> str | None: ...
    @property
    def database_url(self) -> str | None: ...
    @property
    def environment(self) -> str: ...
    @property
    def allow_data_loss(self) -> str: ...
    @property
    def stun_urls(self) -> tuple[str, ...]: ...
    @property
    def turn_urls(self) -> tuple[str, ...]: ...
    @property
    def turn_secret(self) -> str | None: ...
    @property
    def storage_url(self) -> str | None: ...
    @property
    def bus_url(self) -> str | None: ...
    @property
    def workers(self) -> int: ...
    @property
    def public_url(self) -> str | None: ...
    @property
    def metrics_token(self) -> str | None: ...


# Our variables that are not settings: passed between our own processes, and used by migrations and tests.
OTHER_NAMES = frozenset(
    {
        "ARTIFACTS",
        "MIGRATION_LOCK_TIMEOUT",
        "PARENT_PID",
        "PROOF",
        "PROOF_SEED",
        "TEST_DATABASE_URL",
        "TEST_POSTGRES_BIN",
        "TEST_REQUIRE_SERVERS",
        "URL",
    }
)

_REMOTE_BUSES = frozenset({"nats", "tls", "redis", "rediss"})
_BUSES = _REMOTE_BUSES | {"local", "postgres", "postgresql"}


def problems_of(settings: CheckedSettings) -> Iterator[tuple[str, str]]:
    """The invalid fields, each with the reason."""
    if settings.secret and len(settings.secret) < 32:
        yield ("secret", "is too short: it needs 32 characters at least")
    if settings.database_url:
        try:
            hosts_of(settings.database_url)
        except ValueError as error:
            yield ("database_url", f"is wrong: {error}; it must look like postgresql://user:password@host:5432/name")
    if settings.allow_data_loss == "on" and settings.environment == "production":
        yield ("allow_data_loss", "is refused in production")
    if settings.turn_urls and not settings.turn_secret:
        yield ("turn_secret", "is missing: MESSENGER_TURN_URLS needs it")
    for field, schemes in (("stun_urls", ("stun", "stuns")), ("turn_urls", ("turn", "turns"))):
        for url_text in getattr(settings, field):
            scheme, _, rest = url_text.partition(":")
            if scheme not in schemes or not rest or rest.startswith("//"):
                yield (field, f"{url_text[:80]!r} is wrong: it must look like {schemes[0]}:host:3478")
    if settings.storage_url and "://" not in settings.storage_url:
        yield ("storage_url", "is wrong: it must be a URL such as file:///var/lib/messenger/files")
    if settings.bus_url:
        scheme, _, rest = settings.bus_url.partition(":")
        has_address = rest.startswith("//") and len(rest) > 2
        if scheme not in _BUSES or ((rest or scheme in _REMOTE_BUSES) and not has_address):
            yield ("bus_url", "is wrong: it must be local:, postgres:, nats://host:4222 or redis://host:6379/0")
        if scheme == "local" and settings.workers > 1:
            yield ("bus_url", "is wrong: several workers cannot communicate over local:")
    if settings.public_url:
        try:
            origin_of(settings.public_url)
        except ValueError as error:
            yield ("public_url", f"is wrong: {error}; it must look like https://chat.example.com or https://host/chat")
    if settings.metrics_token and len(settings.metrics_token) < 16:
        yield ("metrics_token", "is too short: it needs 16 characters at least")
