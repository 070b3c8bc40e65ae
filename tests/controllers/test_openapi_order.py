"""The order of tags and operations in the document."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from messenger.web.openapi.order import put_in_order
from tests.support.http import DOCUMENT


class TestDocumentOrder:
    def test_registration_comes_first_and_erasure_last_in_tag(self) -> None:
        paths = list(DOCUMENT["paths"])
        assert paths[:3] == ["/register", "/login", "/token/refresh"]
        accounts = [path for path, each in DOCUMENT["paths"].items() if "Accounts" in next(iter(each.values()))["tags"]]
        assert accounts[-1] == "/account"

    def test_paths_are_grouped_by_tag_order(self) -> None:
        shown = [operation["tags"][0] for each in DOCUMENT["paths"].values() for operation in each.values()]
        assert list(dict.fromkeys(shown)) == [tag["name"] for tag in DOCUMENT["tags"]]
        assert len([tag for tag, _ in groupby(shown)]) == len(DOCUMENT["tags"])
        assert all(tag["description"] != tag["name"] for tag in DOCUMENT["tags"])

    def test_unlisted_path_follows_paths_of_same_tag(self) -> None:
        paths = {path: {"get": {"tags": [tag]}} for path, tag in (("/new", "Calls"), ("/ws", "Realtime"))}
        paths |= {"/ice_servers": {"get": {"tags": ["Calls"]}}, "/block": {"post": {"tags": ["Contacts"]}}}
        document: dict[str, Any] = {"paths": {**paths, "/odd": {"get": {"tags": ["Unheard of"]}}}}
        put_in_order(document)
        assert list(document["paths"]) == ["/block", "/ws", "/ice_servers", "/new", "/odd"]
