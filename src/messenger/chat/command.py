"""The command `messenger chat`. Modules that require the extra `chat` are imported when it runs."""

from __future__ import annotations

import click

from messenger.config import environment

DEFAULT_PORT = 8000


def default_url() -> str:
    """The local server, on the port from the environment or the `.env` file."""
    port = (environment().get("MESSENGER_PORT") or "").strip()
    # 0: the server uses any free port.
    return f"http://localhost:{DEFAULT_PORT if port in ('', '0') else port}"


@click.command()
@click.option(
    "--url",
    default=default_url,
    show_default="http://localhost:MESSENGER_PORT",
    envvar="MESSENGER_URL",
    help="URL of the server.",
)
@click.option("--username", help="Account to use. Default: the one used last; if there is none, asks for it.")
@click.option("--no-save", is_flag=True, help="Store no tokens, and sign out on exit.")
def chat(url: str, username: str | None, no_save: bool) -> None:
    """Chat in the terminal, with contacts, typing signals, receipts and presence.

    Tokens are stored in a file that only you can read, so that you stay signed in. The password is never stored.
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("the URL must start with http:// or https://", param_hint="--url")
    try:
        from messenger.chat.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"textual", "httpx", "rich"}:
            raise
        raise click.ClickException(f"{error.name} is missing: install the extra `chat` of this project") from None
    run(url.rstrip("/"), username=username, save=not no_save)
