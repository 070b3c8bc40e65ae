"""Links from responses to the operations that use their values (OpenAPI 3.1, section 4.8.20). Readers see how
operations follow each other, and tests follow the links.
"""

from __future__ import annotations

from collections.abc import Mapping

Links = Mapping[str, Mapping[str, str]]
"""For each target operation, its parameters with their places in the response."""

_TO_A_MESSAGE = {"message_id": "$response.body#/id"}
_TO_A_CONVERSATION = {"target_id": "$response.body#/target_id"}
_TO_A_USER = {"user_id": "$response.body#/id"}
_TO_WHO_WAS_ASKED = {"user_id": "$response.body#/target_id"}
_TO_ONES_OWN = {"user_id": "$response.body#/user/id"}
_TO_THE_NEXT_PAGE = {"cursor": "$response.body#/next"}
_TO_THE_NEXT_EVENTS = {"cursor": "$response.body#/cursor"}
_UNLESS_CHANGED = {"If-Match": "$response.header.ETag"}

LINKS: Mapping[str, Links] = {
    "confirmSubscribe": {"getUser": _TO_WHO_WAS_ASKED, "getHistory": _TO_A_CONVERSATION},
    "editMessage": {"getMessage": _TO_A_MESSAGE, "deleteMessage": _TO_A_MESSAGE},
    "findUser": {"getUser": _TO_A_USER},
    "getHistory": {"getHistory": {"target_id": "$request.path.target_id", "before": "$response.body#/next"}},
    "getProfile": {"updateProfile": _UNLESS_CHANGED},
    "getSecret": {"storeSecret": _UNLESS_CHANGED},
    "getUser": {"setContactAlias": _TO_A_USER, "getHistory": {"target_id": "$response.body#/id"}},
    "issueTicket": {"openSocket": {"ticket": "$response.body#/ticket"}},
    "listContacts": {
        "listContacts": _TO_THE_NEXT_PAGE,
        "getUser": {"user_id": "$response.body#/items/0/user/id"},
        "setContactAlias": {"user_id": "$response.body#/items/0/user/id"},
    },
    "listConversations": {
        "listConversations": _TO_THE_NEXT_PAGE,
        "getHistory": {"target_id": "$response.body#/items/0/target/id"},
        "updateConversation": {"target_id": "$response.body#/items/0/target/id"},
        "sync": _TO_THE_NEXT_EVENTS,
    },
    "listDevices": {
        "listDevices": _TO_THE_NEXT_PAGE,
        "signOutDevice": {"device_id": "$response.body#/items/0/id"},
    },
    "login": {"getUser": _TO_ONES_OWN},
    "register": {"getUser": _TO_ONES_OWN},
    "sendMessage": {
        "getMessage": _TO_A_MESSAGE,
        "editMessage": _TO_A_MESSAGE,
        "deleteMessage": _TO_A_MESSAGE,
        "getHistory": _TO_A_CONVERSATION,
        "updateConversation": _TO_A_CONVERSATION,
    },
    "storeSecret": {"storeSecret": _UNLESS_CHANGED},
    "subscribe": {"getUser": _TO_WHO_WAS_ASKED, "setContactAlias": _TO_WHO_WAS_ASKED},
    "sync": {"sync": _TO_THE_NEXT_EVENTS, "openSocket": _TO_THE_NEXT_EVENTS},
    "updateProfile": {"updateProfile": _UNLESS_CHANGED},
    "uploadAvatar": {"getAvatar": {"key": "$response.body#/avatar/key"}},
}
