"""Settings: a frozen struct, read from the environment and a `.env` file. No other module reads settings."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from dotenv import dotenv_values
from msgspec import Meta

from messenger.config_checks import OTHER_NAMES, problems_of
from messenger.public_url import is_local, origin_of

PREFIX = "MESSENGER_"


class SettingsError(Exception):
    """One or more settings are invalid; the message has one line for each of them."""


def _meta(description: str, unit: str = "", **limits: Any) -> Meta:
    return Meta(description=description, extra={"unit": unit}, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. The environment variable of a field is `MESSENGER_` and its name in capitals."""

    host: Annotated[
        str, _meta("Address to listen on; `0.0.0.0`: all interfaces, `localhost`: IPv4 and IPv6.", min_length=1)
    ] = "127.0.0.1"
    port: Annotated[int, _meta("TCP port to listen on; 0: any free one.", ge=0, le=65535)] = 8000
    public_url: Annotated[
        str,
        _meta(
            "Base URL of the server for clients, with any path prefix: `https://host/chat`. Used in avatar URLs and "
            "in the OpenAPI document."
        ),
    ] = ""
    workers: Annotated[int, _meta("Worker processes that share the port and the database.", ge=1, le=256)] = 1
    environment: Annotated[
        Literal["development", "production"],
        _meta("`production` refuses to start with settings that can lose data or that are guessable."),
    ] = "development"
    data_dir: Annotated[
        Path, _meta("Folder for the server's own PostgreSQL, files and secret; created if it does not exist.")
    ] = Path(".data")
    secret: Annotated[
        str,
        _meta(
            "Key from which the server derives refreshed tokens and TURN pseudonyms; it must be the same on all hosts. "
            "Empty: the server generates a key and stores it in `DATA_DIR/secret`.",
            "at least 32 characters",
        ),
    ] = ""

    database_url: Annotated[
        str,
        _meta(
            "`postgresql://user:password@host:port/name`; with several hosts (`host1,host2:5433`) the one that "
            "accepts writes is used. Empty: the server starts its own PostgreSQL."
        ),
    ] = ""
    auto_migrate: Annotated[
        Literal["on", "off"],
        _meta("Whether `serve` migrates the schema at start; if off, run `messenger db upgrade`."),
    ] = "on"
    allow_data_loss: Annotated[
        Literal["on", "off"],
        _meta(
            "Whether `serve` starts with a database that can lose acknowledged messages in a crash; "
            "`production` refuses `on`."
        ),
    ] = "off"
    postgres_bin: Annotated[
        str, _meta("Folder of `initdb` and `postgres` for the server's own PostgreSQL. Empty: the wheel, then PATH.")
    ] = ""
    pool_size: Annotated[int, _meta("Database connections of one worker.", ge=1, le=1000)] = 10
    pool_timeout: Annotated[
        float,
        _meta("How long a request waits for a database connection; then 503.", "seconds", gt=0, le=60),
    ] = 2.0
    statement_timeout: Annotated[
        float,
        _meta(
            "How long a statement may run before PostgreSQL cancels it. Its request is answered with 503 within "
            "3 s, even if this is longer.",
            "seconds",
            gt=0,
            le=300,
        ),
    ] = 5.0

    activity_resolution: Annotated[
        float,
        _meta(
            "`last_activity` is updated if it is older than this; 0: on every request.",
            "seconds",
            ge=0,
            le=86400,
        ),
    ] = 30.0
    access_token_ttl: Annotated[int, _meta("Lifetime of an access token.", "seconds", ge=1, le=86400)] = 900
    refresh_token_ttl: Annotated[
        int, _meta("A device that has not refreshed its tokens for this long is signed out.", "seconds", ge=60)
    ] = 90 * 86400
    password_min_length: Annotated[
        int, _meta("Shortest password accepted (NIST SP 800-63B-4 asks for 15).", "characters", ge=8, le=64)
    ] = 15
    password_time_cost: Annotated[int, _meta("Argon2id passes.", "passes", ge=1, le=100)] = 3
    password_memory_cost: Annotated[int, _meta("Argon2id memory.", "KiB", ge=32, le=4194304)] = 65536
    password_threads: Annotated[int, _meta("Passwords that a worker hashes at the same time.", ge=1, le=64)] = 2
    max_devices: Annotated[
        int,
        _meta("Devices per account. One more signs out the least recently active one, offline devices first.", ge=1),
    ] = 10

    bus_url: Annotated[
        str,
        _meta(
            "The bus over which workers notify each other: `postgres:` (LISTEN/NOTIFY on the database; give a complete "
            "URL to bypass a pooler), `nats://host:4222`, `redis://host:6379/0`, or `local:` (one process). Empty: "
            "`postgres:`; a single worker then only receives."
        ),
    ] = ""
    socket_timeout: Annotated[
        float, _meta("A socket that sends nothing for this long is closed.", "seconds", ge=3, le=600)
    ] = 90.0
    event_retention: Annotated[
        int, _meta("How long events are kept; a device that was away longer reloads its data.", "days", ge=1, le=3650)
    ] = 30
    demo: Annotated[
        Literal["auto", "on", "off"],
        _meta("Whether `/demo` is served; `auto`: in development."),
    ] = "auto"

    max_connections: Annotated[
        int, _meta("Connections of one worker, sockets included; further ones are answered with 503.", ge=1, le=100000)
    ] = 20000
    keep_alive_timeout: Annotated[
        float, _meta("A connection without a request is closed after this time.", "seconds", ge=1, le=3600)
    ] = 75.0
    head_timeout: Annotated[
        float, _meta("How long the headers of a request may take to arrive; then 408.", "seconds", ge=1, le=600)
    ] = 10.0
    body_timeout: Annotated[
        float, _meta("How long the body of a request may take to arrive; then 408.", "seconds", ge=1, le=86400)
    ] = 300.0
    min_rate: Annotated[
        int,
        _meta("A client that sends a body or reads a response more slowly for 10 s is disconnected.", "bytes/s", ge=1),
    ] = 1024
    max_request_memory: Annotated[
        int, _meta("Memory of unanswered requests per worker; above it, the largest are answered 503.", "MiB", ge=16)
    ] = 64
    max_answer_memory: Annotated[
        int, _meta("Memory of unread responses per worker; above it, connections with the largest close.", "MiB", ge=16)
    ] = 64

    rate_limits: Annotated[Literal["on", "off"], _meta("Whether the limits of `docs/limits.md` are enforced.")] = "on"
    trusted_proxies: Annotated[
        tuple[str, ...],
        _meta("Addresses whose `X-Forwarded-For` is trusted, comma separated; `*`: any."),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], _meta("Origins of web pages that may call the API, exact, comma separated.")
    ] = ()

    storage_url: Annotated[
        str,
        _meta("Store of avatars: `file:///path`, `s3://bucket/prefix`, `gs://…`, `az://…`. Empty: `DATA_DIR/files`."),
    ] = ""
    image_workers: Annotated[int, _meta("Images that a worker decodes at the same time.", ge=1, le=64)] = 2

    stun_urls: Annotated[tuple[str, ...], _meta("STUN servers, comma separated (RFC 7064).")] = ()
    turn_urls: Annotated[tuple[str, ...], _meta("TURN servers, comma separated (RFC 7065).")] = ()
    turn_secret: Annotated[str, _meta("coturn's `static-auth-secret`; required with `TURN_URLS`.")] = ""
    ice_ttl: Annotated[int, _meta("Lifetime of TURN credentials.", "seconds", ge=60, le=7 * 86400)] = 43200

    metrics_token: Annotated[
        str,
        _meta("Bearer token of `GET /metrics`. Empty: `/metrics` does not exist.", "at least 16 characters"),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _meta("Lowest level that is logged.")] = "info"
    log_format: Annotated[Literal["text", "json"], _meta("Format of the log.")] = "text"
    access_log: Annotated[Literal["on", "off"], _meta("Whether each request is logged: method, path, status.")] = "off"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, dotenv: Path | None = Path(".env")) -> Settings:
        """Read the settings; `environ` takes precedence over the `.env` file. Raises `SettingsError`."""
        merged = environment(environ, dotenv=dotenv)
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for field, kind in get_type_hints(cls, include_extras=True).items():
            raw = merged.get(PREFIX + field.upper())
            # `docker compose` passes an empty value for an unset variable, so it means the default.
            if raw is not None and raw.strip():
                try:
                    values[field] = _read(field, raw.strip(), kind)
                except ValueError as error:
                    wrong.append(f"{PREFIX}{field.upper()} {error}")
        settings = cls(**values)
        wrong += [f"{PREFIX}{field.upper()} {why}" for field, why in problems_of(settings)]
        if wrong:
            raise SettingsError("\n".join(wrong))
        return settings

    def __repr__(self) -> str:
        shown = (f"{name}={'***' if name in _SECRETS else getattr(self, name)!r}" for name in self.__struct_fields__)
        return f"Settings({', '.join(shown)})"

    @property
    def serves_demo(self) -> bool:
        """Whether `/demo` is served."""
        return self.demo == "on" or (self.demo == "auto" and self.environment == "development")

    @property
    def public_base(self) -> str:
        """`public_url` without a trailing slash; empty if it is not set."""
        return self.public_url.rstrip("/")

    @property
    def public_origin(self) -> str:
        """The origin of `public_url`, in the form that browsers send; empty if it is not set."""
        return origin_of(self.public_url) if self.public_url else ""

    @property
    def sends_hsts(self) -> bool:
        """Whether responses have `Strict-Transport-Security`; never for local names such as localhost."""
        if not self.public_url:
            return self.environment == "production"
        return self.public_url.startswith("https://") and not is_local(self.public_url)

    @property
    def effective_storage_url(self) -> str:
        """`storage_url`, or a folder of the data folder."""
        return self.storage_url or (self.data_dir / "files").absolute().as_uri()


def environment(
    environ: Mapping[str, str] | None = None, *, dotenv: Path | None = Path(".env")
) -> dict[str, str | None]:
    """The variables of the environment and of the `.env` file; the environment takes precedence."""
    file = dotenv_values(dotenv, interpolate=False) if dotenv and dotenv.is_file() else {}
    return {**file, **(os.environ if environ is None else environ)}


def unknown_settings(environ: Mapping[str, str | None]) -> list[str]:
    """Variables with the prefix that are not settings, most likely misspelled."""
    names = {PREFIX + field.upper() for field in Settings.__struct_fields__} | {PREFIX + name for name in OTHER_NAMES}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in names)


def _read(field: str, raw: str, kind: Any) -> Any:
    value: Any = raw
    if field in _LISTS:
        value = [part.strip() for part in raw.split(",") if part.strip()]
    elif field == "data_dir":
        return Path(raw).expanduser()
    # Secrets must not be logged.
    shown = "is wrong" if field in _SECRETS else f"{raw[:80]!r} is wrong"
    choices = get_args(get_args(kind)[0])
    if get_origin(get_args(kind)[0]) is Literal and raw not in choices:
        raise ValueError(f"{shown}: it must be {' or '.join(choices)}")
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{shown}: {error}") from None


_LISTS = frozenset({"trusted_proxies", "cors_origins", "stun_urls", "turn_urls"})
_SECRETS = frozenset({"secret", "turn_secret", "metrics_token", "database_url", "bus_url"})


def load_secret(settings: Settings) -> bytes:
    """The configured secret, or the one in the data folder, generated at the first start."""
    if settings.secret:
        return settings.secret.encode()
    path = settings.data_dir / "secret"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        # Of two processes that start at the same time, O_EXCL lets one create the file; the other one reads it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_text().strip()
        if len(kept) < 32:
            raise SettingsError(f"{path} does not contain a secret: remove it; all devices must sign in") from None
        return kept.encode()
    made = secrets.token_urlsafe(48)
    with os.fdopen(descriptor, "w") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    return made.encode()
