"""Settings that are unsafe on a public server."""

from __future__ import annotations

from typing import NamedTuple

from messenger.config import PREFIX, Settings


class SettingRisk(NamedTuple):
    """The risk of a setting, and how to remove it."""

    what: str
    advice: str


def risks_of(settings: Settings) -> list[SettingRisk]:
    """The risks of these settings; empty for the defaults."""
    found = []
    if settings.rate_limits == "off":
        what = f"{PREFIX}RATE_LIMITS is off: passwords and usernames can be guessed without limit"
        found.append(SettingRisk(what, "Set it to on."))
    if "*" in settings.trusted_proxies:
        what = f"{PREFIX}TRUSTED_PROXIES is *: any client can forge its address"
        found.append(SettingRisk(what, "List the addresses of the proxies."))
    return found
