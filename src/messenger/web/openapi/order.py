"""The order of the document: in the order in which an app needs the operations."""

from __future__ import annotations

from typing import Any

_TAGS = {
    "Accounts": "Sign up and in, renew tokens, manage devices.",
    "Profiles": "Your profile, and other users as they share it with you.",
    "Avatars": "Profile pictures in two sizes.",
    "Contacts": "Request, accept and block contacts; the presence of your contacts.",
    "Messages": "Send, read, edit and delete.",
    "Conversations": "The list of conversations, their settings, receipts.",
    "Groups": "Create groups, change them and their members, ban users.",
    "Joining groups": "Invitations, links, and requests to join.",
    "Realtime": "The ordered stream of events, by long polling or over a WebSocket.",
    "Calls": "STUN and TURN servers for calls.",
    "End-to-end encryption": "The account's secret, encrypted by the client.",
    "Health": "For load balancers and monitoring.",
}
# Unlisted paths follow the listed ones of their tag.
_PATHS = (
    "/register",
    "/login",
    "/token/refresh",
    "/logout",
    "/devices",
    "/devices/{device_id}",
    "/password",
    "/account/export",
    "/account",
    "/profile",
    "/users",
    "/users/{user_id}",
    "/avatar/upload",
    "/avatar/",
    "/avatars/{key}",
    "/contacts",
    "/subscribe",
    "/confirm_subscribe",
    "/unsubscribe",
    "/block",
    "/unblock",
    "/contacts/{user_id}",
    "/statuses",
    "/messages",
    "/history/{target_id}",
    "/messages/{message_id}",
    "/messages/{message_id}/receipts",
    "/conversations",
    "/conversations/{target_id}",
    "/receipts",
    "/groups",
    "/groups/{group_id}",
    "/groups/{group_id}/avatar",
    "/groups/{group_id}/members",
    "/groups/{group_id}/members/{user_id}",
    "/groups/{group_id}/bans",
    "/groups/{group_id}/bans/{user_id}",
    "/groups/{group_id}/log",
    "/groups/{group_id}/transfer",
    "/groups/{group_id}/leave",
    "/invitations",
    "/groups/{group_id}/invitations",
    "/groups/{group_id}/invitations/{user_id}",
    "/groups/{group_id}/join",
    "/groups/{group_id}/decline",
    "/groups/{group_id}/links",
    "/groups/{group_id}/links/{link_id}",
    "/links/{token}",
    "/links/{token}/join",
    "/groups/{group_id}/requests",
    "/groups/{group_id}/requests/{user_id}",
    "/sync",
    "/ws/ticket",
    "/ws",
    "/ice_servers",
    "/e2e/secret_key",
    "/health/live",
    "/health/ready",
    "/metrics",
)
_METHODS = ("get", "post", "put", "patch", "delete")


def put_in_order(document: dict[str, Any]) -> None:
    """Describe the tags, and sort tags, paths and methods."""
    used = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    tags = [*(tag for tag in _TAGS if tag in used), *sorted(used - set(_TAGS))]
    document["tags"] = [{"name": tag, "description": _TAGS.get(tag, tag)} for tag in tags]

    def place(item: tuple[str, dict[str, Any]]) -> tuple[int, int, str]:
        path, operations = item
        tag = min(tags.index(operation["tags"][0]) for operation in operations.values())
        return tag, _PATHS.index(path) if path in _PATHS else len(_PATHS), path

    document["paths"] = {
        path: dict(sorted(operations.items(), key=lambda item: _METHODS.index(item[0])))
        for path, operations in sorted(document["paths"].items(), key=place)
    }
