"""The command line's part; everything that needs the extra is imported when it is run."""

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
    help="The server.",
)
@click.option("--username", help="Whose account; without it, the one that was used last, or asked for.")
@click.option("--no-save", is_flag=True, help="Keep nothing: sign out of this device when the chat ends.")
def chat(url: str, username: str | None, no_save: bool) -> None:
    """Talk in the terminal: contacts, messages, typing, receipts, presence.

    Stays signed in by tokens in a file that only you can read; the password is never kept.
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("it must begin with http:// or https://", param_hint="--url")
    try:
        from messenger.chat.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"textual", "httpx", "rich"}:
            raise
        raise click.ClickException(f"{error.name} is missing: install the extra `chat` of this project") from None
    run(url.rstrip("/"), username=username, save=not no_save)
