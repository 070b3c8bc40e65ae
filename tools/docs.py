"""Generate pages from the code: `python tools/docs.py` writes them, `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from msgspec import Meta

import messenger.errors
import messenger.errors.groups
from messenger.config import PREFIX, Settings
from messenger.errors import MessengerError
from messenger.limits import LIMITS, MAX_BANS, MAX_GROUPS, MAX_LINKS, MAX_MEMBERS, MAX_REQUESTS, MAX_STAFF

DOCS = Path(__file__).parents[1] / "docs"


def configuration() -> str:
    """`docs/configuration.md`: every setting with its unit, default and meaning."""
    lines = [
        "# Configuration",
        "",
        "Written by `make docs` from `src/messenger/config.py`. Settings are environment variables, or lines of a",
        "`.env` file in the working directory (the environment wins). A wrong value stops the start with one line",
        "that names it; unknown `MESSENGER_*` variables cause a warning. An empty value means the default.",
        "",
        "| setting | default | unit, choices, bounds | meaning |",
        "| --- | --- | --- | --- |",
    ]
    defaults = Settings()
    for field, kind in get_type_hints(Settings, include_extras=True).items():
        base, meta = get_args(kind)
        shown = _default(getattr(defaults, field))
        lines.append(f"| `{PREFIX}{field.upper()}` | {shown} | {_bounds(base, meta)} | {meta.description} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value in ("", ()):
        return "empty"
    return f"`{value}`"


def _bounds(base: Any, meta: Meta) -> str:
    if get_args(base) and get_origin(base) is not tuple:
        return " or ".join(f"`{choice}`" for choice in get_args(base))
    unit = (meta.extra or {}).get("unit", "")
    low = meta.ge if meta.ge is not None else meta.gt
    bounds = ""
    if low is not None and meta.le is not None:
        bounds = f"{low:g} to {meta.le:g}" if meta.gt is None else f"above {low:g}, up to {meta.le:g}"
    elif low is not None:
        bounds = f"{low:g} or more"
    return ", ".join(part for part in (unit, bounds) if part)


_SIZES = (
    ("Members of a group", MAX_MEMBERS, "409 `group_full`"),
    ("Groups of which one account is a member", MAX_GROUPS, "409 `too_many_groups`"),
    ("Admins and moderators of a group, without its owner", MAX_STAFF, "409 `group_full`"),
    ("Links of a group", MAX_LINKS, "409 `too_many_links`"),
    ("Requests to join a group that wait for an answer", MAX_REQUESTS, "503 `overloaded`"),
    ("Bans of a group", MAX_BANS, "409 `group_full`"),
)


def limits() -> str:
    """`docs/limits.md`: every rate limit, and the sizes of groups."""
    lines = [
        "# Limits",
        "",
        "Written by `make docs` from `src/messenger/limits.py`.",
        "",
        "## Rate limits",
        "",
        "Each limit is a token bucket in PostgreSQL that all workers share: `burst` requests at once, then one in each",
        "interval. A request beyond it is answered with 429 `rate_limited` and the headers `Retry-After`, `RateLimit`",
        "and `RateLimit-Policy`; over a socket the problem has `retry_after`. When the database cannot be reached,",
        "most limits refuse (closed), and some allow (open). `MESSENGER_RATE_LIMITS=off` disables all of them. The",
        "slow mode of a group is not one of them: it is a setting of the group, and holds in any case.",
        "",
        "A *lease* is for requests that devices make often. A worker allows this many in a window (the burst times the",
        "interval) without counting them. After that, it takes this many tokens at a time from the bucket. A device",
        "with few requests therefore costs no statement, and no device gets more than the bucket and one lease of each",
        "worker. A request that is counted *with the work* is counted by the statement that does its work: both",
        "happen, or neither.",
        "",
        "The address is that of the connection, or the one that a proxy in `MESSENGER_TRUSTED_PROXIES` reports; a",
        "client's own `X-Forwarded-For` has no effect. IPv6 addresses are counted by /64, IPv4-mapped ones as IPv4.",
        "A device has one socket (a newer one closes the older), so an account has at most `MESSENGER_MAX_DEVICES`",
        "sockets.",
        "",
        "| limit | counts | burst | then one each | lease | when it can't be counted |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for limit in LIMITS.values():
        opened = "with the work" if limit.with_work else "open" if limit.fail_open else "closed"
        cells = (f"`{limit.name}`", limit.meaning, limit.burst, f"{limit.every:g} s", limit.lease or "", opened)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "## Sizes of groups",
        "",
        "A request that would exceed one of them is answered with the error. [Conventions](api/conventions.md#limits)",
        "lists the sizes of requests and pages.",
        "",
        "| what | at most | error |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {what} | {most:,} | {error} |" for what, most, error in _SIZES]
    return "\n".join(lines) + "\n"


def errors() -> str:
    """`docs/errors.md`: every problem code."""
    lines = [
        "# Errors",
        "",
        "Written by `make docs` from `src/messenger/errors/`. A refused request is answered with a problem document",
        "(RFC 9457); over a socket the same document is the `error` of the reply. Programs decide by `code`: codes are",
        "stable, while `title` and `detail` are for people and may change. Later versions may add codes; an app treats",
        "an unknown code like any other problem of its status. [Conventions](api/conventions.md#problems) shows a",
        "problem, and [clients](clients.md#problems) its types in generated clients.",
        "",
        "A request that is answered with 4xx changed nothing, except that `refresh_token_reused` signs the device out.",
        "After 5xx, or when the connection breaks, the request may have been carried out: repeat it with the same",
        "`client_id` or `Idempotency-Key`.",
        "",
        "| code | status | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| `{error.code}` | {error.status} | {error.title} | {error.advice} |" for error in error_classes()]
    return "\n".join(lines) + "\n"


def error_classes() -> list[type[MessengerError]]:
    """The classes of `messenger.errors` and `messenger.errors.groups` as they are declared, by status."""
    modules = (messenger.errors, messenger.errors.groups)
    declared = dict.fromkeys(each for module in modules for each in vars(module).values() if isinstance(each, type))
    return sorted((each for each in declared if issubclass(each, MessengerError)), key=lambda error: error.status)


def decisions() -> str:
    """`docs/decisions/index.md`: every decision by number."""
    lines = [
        "# Decisions",
        "",
        "Written by `make docs`. One page for each decision that cost thought: its context, the decision, its",
        "consequences, and the alternatives that were rejected. File names in a page are those of its time; when a",
        "decision changes, a new page replaces the old one and says so.",
        "",
        "| | decision |",
        "| --- | --- |",
    ]
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        number, title = page.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
        lines.append(f"| {number} | [{title}]({page.name}) |")
    return "\n".join(lines) + "\n"


PAGES = {
    "configuration.md": configuration,
    "limits.md": limits,
    "errors.md": errors,
    "decisions/index.md": decisions,
}


def main(check: bool) -> int:
    """Write the pages, or compare them; returns the number of pages that differ."""
    differing = 0
    for name, page in PAGES.items():
        path = DOCS / name
        if check:
            if not path.exists() or path.read_text() != page():
                print(f"docs/{name} is out of date: run `make docs`")
                differing += 1
        else:
            path.write_text(page())
    return differing


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
