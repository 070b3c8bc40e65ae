"""The command line's part; everything that needs the extra is imported when it is run."""

from __future__ import annotations

import click

DEFAULT_URL = "http://localhost:8000"


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, envvar="MESSENGER_URL", help="The server.")
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
        raise click.ClickException(f"{error.name} is missing: pip install 'messenger[chat]'") from None
    run(url.rstrip("/"), username=username, save=not no_save)
