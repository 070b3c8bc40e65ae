"""The command `messenger`: server, schema, accounts, OpenAPI document, checks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
import msgspec
import sqlalchemy.exc

from messenger import __version__
from messenger.chat.command import chat
from messenger.config import Settings, SettingsError
from messenger.database.connection import UNREACHABLE
from messenger.embedded.postgres import EmbeddedPostgresError
from messenger.errors import MessengerError

P = ParamSpec("P")
T = TypeVar("T")

USAGE_ERROR, FAILED = 2, 1


def reporting(command: Callable[P, T]) -> Callable[P, T]:
    """Print errors that an operator can fix as one line on standard error, and exit with a code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SettingsError as error:
            for line in str(error).splitlines():
                click.echo(f"messenger: {line}", err=True)
            sys.exit(USAGE_ERROR)
        except (EmbeddedPostgresError, MessengerError) as error:
            _fail(str(error))
        except (*UNREACHABLE, sqlalchemy.exc.SQLAlchemyError) as error:
            # The first line is enough for operators.
            _fail(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        except Exception as error:
            # Look up Alembic's error class only if Alembic is loaded, since importing it is slow.
            alembic = sys.modules.get("alembic.util")
            if alembic is None or not isinstance(error, alembic.CommandError):
                raise
            _fail(str(error))

    return run


def _fail(why: str) -> NoReturn:
    click.echo(f"messenger: {why}", err=True)
    sys.exit(FAILED)


def _json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="messenger")
def main() -> None:
    """A self-hosted messaging backend.

    Settings are environment variables, or lines of a .env file; see docs/configuration.md.
    """


@main.command()
@click.option("--host", help="Address to listen on (MESSENGER_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (MESSENGER_PORT).")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes (MESSENGER_WORKERS).")
@reporting
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Start the server, with its own PostgreSQL unless MESSENGER_DATABASE_URL is set."""
    from messenger.serving import serve as run

    given = {"host": host, "port": port, "workers": workers}
    settings = Settings.from_env()
    run(msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None}))


main.add_command(chat)


# --- schema -------------------------------------------------------------------------------------


@main.group()
def db() -> None:
    """Migrate and check the database schema."""


def _with_database(work: Callable[[str], None]) -> None:
    from messenger.embedded.local import database_url

    with database_url(Settings.from_env()) as url:
        work(url)


@db.command()
@click.argument("revision", default="head")
@reporting
def upgrade(revision: str) -> None:
    """Upgrade the schema to REVISION (default: the newest)."""
    from messenger import migrations

    _with_database(lambda url: migrations.upgrade(url, revision))
    click.echo(f"the schema is at {revision}")


@db.command()
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@reporting
def downgrade(revision: str, yes: bool) -> None:
    """Downgrade the schema to REVISION; data that only later revisions store is lost."""
    from messenger import migrations

    if not yes:
        click.confirm("This can destroy data. Continue?", abort=True)
    _with_database(lambda url: migrations.downgrade(url, revision))
    click.echo(f"the schema is at {revision}")


@db.command()
@reporting
def check() -> None:
    """Compare the database with the models; exit with 1 if they differ."""
    from messenger import migrations

    _with_database(migrations.check)
    click.echo("the schema matches the models")


@db.command()
@click.argument("message")
@reporting
def revision(message: str) -> None:
    """Generate a migration from the difference between models and database (in a checkout)."""
    from messenger import migrations

    _with_database(lambda url: migrations.revision(url, message))


@db.command("new-epoch")
@reporting
def new_epoch() -> None:
    """Make all clients reload, after a restore that the server cannot detect; works while servers are running."""
    from messenger.database import stream_epoch

    _with_database(lambda url: click.echo(f"epoch {asyncio.run(stream_epoch.begin_at(url))} begins"))


# --- accounts -------------------------------------------------------------------------------------


@main.group()
def users() -> None:
    """Create, list and change accounts."""


def _with_container(work: Callable[[Any], Awaitable[T]]) -> T:
    from messenger.container import Container
    from messenger.embedded.local import database_url
    from messenger.migrations import bring_up, schema_at

    settings = Settings.from_env()
    with database_url(settings) as url:
        bring_up(url, asyncio.run(schema_at(url)), may_upgrade=settings.auto_migrate == "on")

        async def run() -> T:
            # Rate limits are for clients only. The bus notifies running servers.
            bus = settings.bus_url or "postgres:"
            container = Container(msgspec.structs.replace(settings, database_url=url, rate_limits="off", bus_url=bus))
            try:
                return await work(container)
            finally:
                await container.close()

        return asyncio.run(run())


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to read the password from: use --password-stdin")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


@users.command("create")
@click.argument("username")
@click.option("--name", help="Display name (default: the username).")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def create_user(username: str, name: str | None, password_stdin: bool, as_json: bool) -> None:
    """Create an account."""
    from messenger.schemas.accounts import RegisterDraft
    from messenger.web.field_errors import validation_error

    draft = {"username": username, "password": _read_password(password_stdin), "name": name or username}
    try:
        checked = msgspec.convert(draft, RegisterDraft)
    except msgspec.ValidationError as error:
        raise click.UsageError(validation_error(str(error)).detail) from None
    view = _with_container(lambda container: container.services.administration.create_account(checked))
    if as_json:
        _json(view)
    else:
        click.echo(f"{view.username} has id {view.id}")


@users.command("list")
@click.option("--after", default=0, show_default=True, help="List accounts with higher ids only.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def list_users(after: int, limit: int, as_json: bool) -> None:
    """List accounts by ascending id."""
    rows = _with_container(lambda container: container.services.administration.list_accounts(after=after, limit=limit))
    if as_json:
        _json(rows)
        return
    click.echo("id\tusername\tstate\tlast activity\tname")
    for row in rows:
        state = "erased" if row.deleted_at else "disabled" if row.disabled_at else "active"
        click.echo(f"{row.id}\t{row.username or '-'}\t{state}\t{row.last_activity}\t{row.name}")


@users.command("disable")
@click.argument("login")
@click.option("--undo", is_flag=True, help="Enable the account again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def disable_user(login: str, undo: bool, as_json: bool) -> None:
    """Disable an account and sign out its devices. LOGIN: a username or id."""
    row = _with_container(lambda container: container.services.administration.set_disabled(login, disabled=not undo))
    if as_json:
        _json(row)
    else:
        click.echo(f"{row.id} is {'disabled' if row.disabled_at else 'active'}")


@users.command("password")
@click.argument("login")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def set_password(login: str, password_stdin: bool, as_json: bool) -> None:
    """Set the password of an account and sign out its devices. LOGIN: a username or id."""
    password = _read_password(password_stdin)
    row = _with_container(lambda container: container.services.administration.set_password(login, password))
    if as_json:
        _json(row)
    else:
        click.echo(f"{row.id} has a new password; its devices were signed out")


# --- others ---------------------------------------------------------------------------------------


@main.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@reporting
def openapi(output: Path | None) -> None:
    """Print the OpenAPI document."""
    from messenger.openapi_export import openapi_json

    text = openapi_json()
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def doctor(as_json: bool) -> None:
    """Check settings, database, storage, bus, TURN and clock, with advice; exit with 1 if a check fails."""
    from messenger.doctor import examine

    findings = examine(Settings.from_env())
    if as_json:
        _json(findings)
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.part}: {finding.finding}")
            if finding.advice:
                click.echo(f"     {finding.advice}")
    sys.exit(0 if all(finding.ok for finding in findings) else FAILED)
