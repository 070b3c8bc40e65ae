"""The table of rate limits: burst, rate, and the behaviour without a database."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """A token bucket: `burst` requests at once, then one every `every` seconds. `fail_open`: allow requests that cannot
    be counted.

    `lease`: for frequent requests of devices, each worker allows this many in a window without counting them, and then
    takes this many tokens at a time from the bucket, so that devices with few requests cost no statement. `with_work`:
    the statement that does the work also counts the request.
    """

    name: str
    burst: int
    every: float
    meaning: str
    fail_open: bool = False
    lease: int = 0
    with_work: bool = False

    @property
    def rate(self) -> float:
        return 1.0 / self.every

    @property
    def window(self) -> int:
        """Seconds until an empty bucket is full again."""
        return round(self.burst * self.every)


_LIMITS = (
    Limit("register", 100, 30.0, "Registrations from one address"),
    Limit("login_address", 100, 10.0, "Sign-ins from one address, successful or not"),
    Limit("login_site", 300, 3.0, "Sign-ins from one IPv6 /48, successful or not"),
    Limit("login_account", 10, 60.0, "Sign-ins to one login from one address, successful or not"),
    Limit("login_strangers", 100, 60.0, "Sign-ins to one login from all addresses that it has not used recently"),
    Limit("refresh", 60, 10.0, "Token refreshes from one address without a valid token"),
    Limit("refresh_device", 30, 60.0, "Token refreshes of one device, retries included", lease=5, with_work=True),
    Limit("password", 5, 300.0, "Password confirmations of one account, to change the password or to erase it"),
    Limit(
        "username",
        10,
        259200.0,
        "Username changes of one account: each reserves a name",
        with_work=True,
    ),
    Limit("request", 600, 0.1, "Requests of one device, over HTTP and sockets", fail_open=True, lease=60),
    Limit("change", 240, 0.5, "Changes by one device: receipts, edits, settings, contacts", fail_open=True, lease=30),
    Limit("handshake", 60, 1.0, "WebSocket handshakes of one device", fail_open=True, lease=20),
    Limit("message", 120, 0.5, "Messages by one account", with_work=True),
    Limit("message_to", 60, 1.0, "Messages by one account in one conversation", with_work=True),
    Limit("conversation", 50, 60.0, "Conversations that one account starts"),
    Limit("look_up", 200, 60.0, "Strangers that one account looks up; each counts once a day"),
    Limit("subscribe", 100, 30.0, "Contact requests by one account"),
    Limit("subscribed_to", 50, 300.0, "Contact requests that one account receives"),
    Limit("presence", 30, 2.0, "Changes of status over sockets by one account", fail_open=True),
    Limit("secret_read", 10, 8640.0, "Reads of the safe by one account: ten a day"),
    Limit("secret_write", 20, 60.0, "Writes of the safe by one account"),
    Limit("avatar", 20, 30.0, "Avatars uploaded by one account", fail_open=True),
    Limit("avatar_mib", 100, 60.0, "MiB of avatars uploaded by one account", fail_open=True),
    Limit("export", 3, 28800.0, "Exports of one account"),
    Limit("group_create", 20, 600.0, "Groups created by one account", with_work=True),
    Limit("invite", 100, 30.0, "Invitations by one account"),
    Limit("invited_to", 20, 300.0, "Invitations that one account receives"),
    Limit("join", 30, 60.0, "Groups that one account joins or asks to join"),
    Limit("link_look_up", 30, 10.0, "Group links that one account looks up"),
    Limit("moderate", 120, 1.0, "Changes of members by one account in one group"),
    Limit("ice", 100, 60.0, "TURN credentials for one account", fail_open=True),
)

LIMITS: dict[str, Limit] = {limit.name: limit for limit in _LIMITS}
"""Every limit by its name; `docs/limits.md` is checked against it."""

MAX_MEMBERS = 200
MAX_GROUPS = 1_000
MAX_LINKS = 20
MAX_INVITATIONS = MAX_REQUESTS = 1_000
MAX_BANS = 10_000
MAX_STAFF = 50
"""The size of a group, and of what belongs to it; `MAX_GROUPS` are those of one account, `MAX_STAFF` the admins and
moderators of a group.
"""
