"""Secrets and user data appear nowhere except where they belong."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from tests.leaks._canaries import KEPT, spellings
from tests.leaks.conftest import Evidence

SECRETS = [name for name, columns in KEPT.items() if not columns]
# A rate limit may store what was looked up, also as a hash.
STORED = [name for name, columns in KEPT.items() if columns and name != "looked_up"]


class TestEvidence:
    """The requests cover everything, including every kind of refusal: otherwise the other tests prove nothing."""

    def test_evidence_covers_every_status(self, evidence: Evidence) -> None:
        assert evidence.statuses >= {200, 201, 204, 400, 401, 404, 409, 415, 422, 500}

    def test_faults_were_logged_with_tracebacks(self, evidence: Evidence) -> None:
        assert evidence.log_text.count("CheckViolationError") > 10
        assert "messenger.access" in evidence.log_text

    @pytest.mark.parametrize("name", STORED)
    def test_evidence_contains_expected_database_values(self, evidence: Evidence, name: str) -> None:
        found = [column for column in KEPT[name] if evidence.canaries[name] in evidence.database[column]]
        assert found == list(KEPT[name])

    def test_search_finds_planted_value(self, evidence: Evidence) -> None:
        body = evidence.canaries["body"]
        assert hashlib.sha256(body.encode()).hexdigest() in list(spellings(body))


@pytest.mark.parametrize("name", KEPT)
class TestCanary:
    def test_canary_is_absent_from_logs(self, evidence: Evidence, name: str) -> None:
        for log in (evidence.log_text, evidence.log_json):
            assert [line for line in log.splitlines() if evidence.canaries[name] in line] == []

    def test_canary_is_absent_from_problems(self, evidence: Evidence, name: str) -> None:
        # The problem repeats the name of an unknown field, to its own sender.
        if name != "unknown_field":
            assert [problem for problem in evidence.problems if evidence.canaries[name] in problem] == []

    def test_canary_is_absent_from_metrics(self, evidence: Evidence, name: str) -> None:
        assert evidence.canaries[name] not in evidence.metrics

    def test_canary_is_stored_only_in_expected_columns(self, evidence: Evidence, name: str) -> None:
        found = {column for column, text in evidence.database.items() if evidence.canaries[name] in text}
        assert found <= set(KEPT[name])


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_absent_from_database_in_any_encoding(evidence: Evidence, name: str) -> None:
    for spelling in spellings(evidence.canaries[name]):
        assert [column for column, text in evidence.database.items() if spelling in text] == []


class TestStoredTokens:
    def test_tokens_are_not_stored_or_exposed(self, evidence: Evidence) -> None:
        places = {"log": evidence.log_text, "JSON log": evidence.log_json, "metrics": evidence.metrics}
        places |= {"problems": "\n".join(evidence.problems), **evidence.database}
        assert len(evidence.tokens) >= 9
        assert [place for place, text in places.items() for token in evidence.tokens if token in text] == []

    def test_only_token_hashes_are_stored(self, evidence: Evidence) -> None:
        kept = evidence.database["devices.access_hash"] + evidence.database["refresh_tokens.hash"]
        hashes = [hashlib.sha256(token.encode()).hexdigest() for token in evidence.tokens]
        assert any(each in kept for each in hashes)


class TestStoredPasswords:
    def test_only_argon2id_hashes_are_stored(self, evidence: Evidence) -> None:
        assert len(evidence.password_hashes) == 2
        assert {encoded.split("$")[1] for encoded in evidence.password_hashes} == {"argon2id"}

    @pytest.mark.parametrize("path", ["/register", "/login"])
    def test_request_fingerprint_is_not_plain_hash_of_body(self, evidence: Evidence, path: str) -> None:
        """Such a hash would be a fast way to guess passwords, beside Argon2id's slow one."""
        kept = evidence.database["idempotency_keys.fingerprint"].split()
        assert len(kept) >= 3
        for body in _bodies(evidence, path):
            assert hashlib.sha256(path.encode() + b"\0" + body).hexdigest() not in kept


def _bodies(evidence: Evidence, path: str) -> list[bytes]:
    """The request body of each account, as the client wrote it."""
    canaries = evidence.canaries
    device, password = {"device_name": canaries["device_name"]}, {"password": canaries["password"]}
    usernames = evidence.database["users.username"].splitlines()
    if path == "/register":
        name = {"name": canaries["name"]}
        return [msgspec.json.encode({"username": each, **password, **name, **device}) for each in usernames]
    return [msgspec.json.encode({"login": each, **device, **password}) for each in usernames]
