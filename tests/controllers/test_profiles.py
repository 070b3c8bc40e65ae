"""Profiles, look-ups and their preconditions over HTTP."""

from __future__ import annotations

import httpx
import pytest

from messenger.container import Container
from messenger.testing import Factory, Person
from tests.controllers._shapes import PRIVACY, PROFILE, is_peer_id, is_time
from tests.support.groups import create_group, join
from tests.support.http import assert_problem

PERSON = {
    "id",
    "username",
    "name",
    "avatar",
    "about",
    "status",
    "status_text",
    "online",
    "last_activity",
    "contact",
}


class TestOwnProfile:
    async def test_profile_has_documented_keys(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/profile", headers=ada.headers)
        assert (answer.status_code, set(answer.json()), set(answer.json()["privacy"])) == (200, PROFILE, PRIVACY)

    async def test_profile_has_id_and_times(self, client: httpx.AsyncClient, ada: Person) -> None:
        profile = (await client.get("/profile", headers=ada.headers)).json()
        assert is_peer_id(profile["id"])
        assert is_time(profile["created_at"])
        assert is_time(profile["last_activity"])

    async def test_missing_avatar_is_null(self, client: httpx.AsyncClient, ada: Person) -> None:
        assert (await client.get("/profile", headers=ada.headers)).json()["avatar"] is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "Ada King"),
            ("name", "x" * 64),
            ("about", ""),
            ("about", "x" * 500),
            ("about", "two\nlines"),
            ("status", "invisible"),
            ("status_text", "x" * 140),
            ("privacy", dict.fromkeys(PRIVACY, "nobody")),
        ],
    )
    async def test_put_changes_profile_field(
        self, client: httpx.AsyncClient, ada: Person, field: str, value: object
    ) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={field: value})
        assert (answer.status_code, answer.json()[field]) == (200, value)
        assert (await client.get("/profile", headers=ada.headers)).json()[field] == value

    async def test_omitted_field_keeps_value(self, client: httpx.AsyncClient, ada: Person) -> None:
        before = (await client.get("/profile", headers=ada.headers)).json()
        after = (await client.put("/profile", headers=ada.headers, json={"privacy": {"avatar": "nobody"}})).json()
        assert after == {**before, "privacy": {**before["privacy"], "avatar": "nobody"}}

    async def test_taken_username_in_profile_update_is_409(
        self, client: httpx.AsyncClient, ada: Person, bob: Person
    ) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={"username": bob.username.upper()})
        assert_problem(answer, 409, "username_taken")

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("name", "", "too_short"),
            ("name", "x" * 65, "too_long"),
            ("name", "\u0301\u0302\u0303", "blank"),
            ("name", "\u200d", "blank"),
            ("name", "a\u202eb", "invalid_characters"),
            ("name", "a\x00b", "invalid_characters"),
            ("about", "x" * 501, "too_long"),
            ("about", "a\x00b", "invalid_characters"),
            ("status", "asleep", "invalid_choice"),
            ("status_text", "x" * 141, "too_long"),
            ("username", "12345678", "invalid_characters"),
        ],
    )
    async def test_invalid_profile_value_is_named(
        self, client: httpx.AsyncClient, ada: Person, field: str, value: str, code: str
    ) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={field: value})
        assert_problem(answer, 400, "validation_failed", field=field)
        assert answer.json()["errors"][0]["code"] == code

    async def test_nested_field_is_named_by_path(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={"privacy": {"avatar": "friends"}})
        assert_problem(answer, 400, "validation_failed", field="privacy.avatar")

    async def test_unknown_nested_field_is_named_by_path(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={"privacy": {"shoe_size": "nobody"}})
        assert_problem(answer, 400, "unknown_field", field="privacy.shoe_size")

    async def test_unknown_field_with_newline_is_named(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.put("/profile", headers=ada.headers, json={"a\nb": 1})
        assert_problem(answer, 400, "unknown_field", field="a\nb")


class TestIfMatch:
    async def test_profile_answers_have_etag(self, client: httpx.AsyncClient, ada: Person) -> None:
        read = await client.get("/profile", headers=ada.headers)
        written = await client.put("/profile", headers=ada.headers, json={"about": "x"})
        assert read.headers["etag"] != written.headers["etag"]
        assert (await client.get("/profile", headers=ada.headers)).headers["etag"] == written.headers["etag"]

    @pytest.mark.parametrize("form", ["{tag}", "*", " {tag} ", '"77777", {tag}', '{tag},"77777"', 'W/"77777", {tag}'])
    async def test_current_profile_version_is_accepted(self, client: httpx.AsyncClient, ada: Person, form: str) -> None:
        tag = (await client.get("/profile", headers=ada.headers)).headers["etag"]
        headers = {**ada.headers, "If-Match": form.format(tag=tag)}
        assert (await client.put("/profile", headers=headers, json={"about": "x"})).status_code == 200

    @pytest.mark.parametrize(
        "form", ['"77777"', "W/{tag}", "garbage", "", "{bare}", '"', '"-1"', '"' + "9" * 10_000 + '"']
    )
    async def test_mismatched_if_match_is_412_without_effect(
        self, client: httpx.AsyncClient, ada: Person, form: str
    ) -> None:
        before = await client.get("/profile", headers=ada.headers)
        tag = before.headers["etag"]
        headers = {**ada.headers, "If-Match": form.format(tag=tag, bare=tag.strip('"'))}
        answer = await client.put("/profile", headers=headers, json={"about": "x"})
        assert_problem(answer, 412, "version_conflict")
        assert (await client.get("/profile", headers=ada.headers)).json() == before.json()

    async def test_second_writer_gets_412(self, client: httpx.AsyncClient, ada: Person) -> None:
        tag = (await client.get("/profile", headers=ada.headers)).headers["etag"]
        headers = {**ada.headers, "If-Match": tag}
        first = await client.put("/profile", headers=headers, json={"about": "first"})
        second = await client.put("/profile", headers=headers, json={"about": "second"})
        assert (first.status_code, second.status_code) == (200, 412)


class TestLookUp:
    async def test_look_up_by_id_has_documented_keys(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.get(f"/users/{bob.id}", headers=ada.headers)
        assert (answer.status_code, set(answer.json()), answer.json()["contact"]) == (200, PERSON, "mutual")

    async def test_look_up_by_username_ignores_case(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        answer = await client.get("/users", headers=ada.headers, params={"username": bob.username.upper()})
        assert (answer.status_code, answer.json()["id"]) == (200, bob.id)

    async def test_stranger_sees_no_activity(self, client: httpx.AsyncClient, make: Factory, ada: Person) -> None:
        stranger = await make.person()
        person = (await client.get(f"/users/{stranger.id}", headers=ada.headers)).json()
        assert (person["last_activity"], person["status"], person["online"]) == (None, None, False)

    @pytest.mark.parametrize("path", ["/users/99999999999", "/users?username=nobody-has-this-name"])
    async def test_look_up_of_unknown_user_is_404(self, client: httpx.AsyncClient, ada: Person, path: str) -> None:
        assert_problem(await client.get(path, headers=ada.headers), 404, "peer_not_found")

    async def test_missing_username_is_named(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/users", headers=ada.headers)
        assert_problem(answer, 400, "validation_failed", field="username")

    async def test_list_by_ids_has_contacts_and_members_of_groups(
        self, client: httpx.AsyncClient, container: Container, make: Factory, ada: Person, bob: Person
    ) -> None:
        eve, stranger = await make.people(2)
        group = await create_group(container, eve)
        await join(container, make, eve, group, bob)
        for who, known in ((ada, [bob]), (bob, [ada, eve])):
            asked = [stranger.id, 7, eve.id, *[bob.id, ada.id] * 2]
            answer = await client.get("/users", headers=who.headers, params={"ids": ",".join(map(str, asked))})
            assert (answer.status_code, list(answer.json())) == (200, ["items"])
            items = {item["id"]: item for item in answer.json()["items"]}
            assert list(items) == sorted(person.id for person in known)
            assert all(set(item) == {"id", "username", "name", "avatar"} for item in items.values())

    async def test_hundred_ids_are_listed(self, client: httpx.AsyncClient, ada: Person, bob: Person) -> None:
        ids = ",".join(map(str, [bob.id, *range(2**53 - 99, 2**53)]))
        answer = await client.get("/users", headers=ada.headers, params={"ids": ids})
        assert [item["id"] for item in answer.json()["items"]] == [bob.id]

    @pytest.mark.parametrize(
        "ids",
        [
            "",
            ",",
            "1,",
            "1,,2",
            "1, 2",
            "-1",
            "+1",
            "1.5",
            "ada",
            "null",
            "0",
            "9" * 17,
            ",".join("1" * 101),
        ],
        ids=lambda ids: ids[:20] or "empty",
    )
    async def test_wrong_ids_are_refused(self, client: httpx.AsyncClient, ada: Person, ids: str) -> None:
        answer = await client.get("/users", headers=ada.headers, params={"ids": ids})
        assert_problem(answer, 400, "validation_failed", field="ids")

    async def test_username_and_ids_conflict(self, client: httpx.AsyncClient, ada: Person) -> None:
        answer = await client.get("/users", headers=ada.headers, params={"ids": "1", "username": "bob"})
        assert_problem(answer, 400, "validation_failed", field="ids")
        answer = await client.get("/users", params={"ids": "1", "username": "bob"})
        assert_problem(answer, 401, "unauthenticated")
