"""Hooks that schemathesis loads: they sign in, use MessagePack, and keep the end of an account from ending a run.

They run in the environment of the checks (`.venv/checks`), beside the server. The environment variable `FUZZ_CROWD`
names the file that lists the users (`_population.py`), `FUZZ_TALLY` the file for the counted answers;
`FUZZ_ENCODINGS` is `json` where bodies in MessagePack would take too long.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
from collections import Counter, defaultdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import schemathesis

CROWD: dict[str, Any] = json.loads(Path(os.environ["FUZZ_CROWD"]).read_text())
SECONDS_SIGNED_IN = 300
MSGPACK = "application/msgpack"
ENDS_ITS_ACCOUNT = {"changePassword": "old_password", "eraseAccount": "password"}
"""Operations after which nobody could sign in as before, and the field that has the password."""

_numbers = itertools.count()


def _operation_id(case: Any) -> str:
    operation_id: str = case.operation.definition.raw["operationId"]
    return operation_id


# --- who asks -------------------------------------------------------------------------------------


class Limited(Exception):
    """The server responds 429: too many sign-ins."""


def _post(path: str, body: dict[str, str]) -> dict[str, Any]:
    """The response to a successful request."""
    connection = HTTPConnection(urlsplit(CROWD["url"]).netloc, timeout=30)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.load(response)
        if response.status == 429:
            raise Limited
        if response.status >= 300:
            raise RuntimeError(f"POST {path}: {answer}")
        return answer
    finally:
        connection.close()


def _fresh() -> str:
    name = f"fleeting{os.getpid()}_{next(_numbers)}"
    signed_in = _post("/register", {"username": name, "password": CROWD["password"], "name": "Fleeting"})
    return str(signed_in["tokens"]["access_token"])


def _signed_in() -> str:
    # By number: a call may have changed the username.
    signed_in = _post("/login", {"login": str(CROWD["user_ids"][0]), "password": CROWD["password"]})
    return str(signed_in["tokens"]["access_token"])


class SignIn:
    """Signs the owner in, again whenever a call has signed the device out; a call that ends an account gets a fresh
    one.
    """

    _last = CROWD["access_token"]

    def get(self, case: Any, _: Any) -> str:
        operation_id = _operation_id(case)
        if operation_id == "getMetrics":
            return str(CROWD["metrics_token"])
        fleeting = operation_id in ENDS_ITS_ACCOUNT
        try:
            token = _fresh() if fleeting else _signed_in()
        except Limited:
            # The owner's account must not end: send an invalid token instead.
            return "none" if fleeting else self._last
        if not fleeting:
            SignIn._last = token
        return token

    def set(self, case: Any, data: str, _: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


def _account(case: Any, _: Any) -> str:
    return f"fleeting {next(_numbers)}" if _operation_id(case) in ENDS_ITS_ACCOUNT else "owner"


def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give the right password to every other call that needs one: a wrong one gets no further than its check."""
    field = ENDS_ITS_ACCOUNT.get(_operation_id(case))
    if field and isinstance(case.body, dict) and isinstance(case.body.get(field), str) and next(_numbers) % 2:
        case.body = {**case.body, field: CROWD["password"]}


# --- what was answered ----------------------------------------------------------------------------

_tally: defaultdict[str, Counter[str]] = defaultdict(Counter)


def after_call(context: Any, case: Any, response: Any) -> None:
    """Count it, except for methods that the operation does not have."""
    if case.method == case.operation.method.upper():
        _tally[_operation_id(case)][str(response.status_code)] += 1


def _write_tally() -> None:
    Path(os.environ["FUZZ_TALLY"]).write_text(json.dumps(_tally))


# --- MessagePack ----------------------------------------------------------------------------------


def before_load_schema(context: Any, document: dict[str, Any]) -> None:
    """Remove the other encoding from the bodies: it has the same schemas, and doubles the time."""
    if os.environ["FUZZ_ENCODINGS"] == "json":
        for path in document["paths"].values():
            for operation in path.values():
                operation.get("requestBody", {}).get("content", {}).pop(MSGPACK, None)


def _pack(context: Any, value: Any) -> bytes:
    packed: bytes = msgpack.packb(_fitting(value))
    return packed


def _fitting(value: Any) -> Any:
    """The same value, with integers limited to what MessagePack can represent."""
    if isinstance(value, dict):
        return {key: _fitting(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fitting(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(2**64 - 1, value))
    return value


def _unpack(context: Any, response: Any) -> Any:
    return msgpack.unpackb(response.content)


# --- what the document calls valid ----------------------------------------------------------------

SAID_IN_WORDS = {
    "body": "required, unless a message is forwarded",
    "blank": "a name of spaces alone",
    "cannot_target_self": "who asks is a number like any other",
    "conflicting": "`before` and `after` of a page",
    "too_early": "a ban ends in the future",
    "invalid_characters": "a name's, by their Unicode category",
    "cursor": "made by the server, opaque to the rest",
    "read_seq": "one of the two receipts has to be there, and none lies beyond the conversation's end",
    "delivered_seq": "as above",
}
"""Refusals with 400 of what fits the schema, by the code or the field they name: JSON Schema can't say these."""


def valid_is_no_400(context: Any, response: Any, case: Any) -> None:
    """A body that matches the schema may be refused because of the state (403, 404, 409 …), and never as malformed."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = json.loads(response.content)
    if problem["detail"].endswith("got number"):
        # To JSON Schema 1.0 is an integer.
        return
    codes = {problem["code"], *(each for fault in problem["errors"] for each in (fault["code"], fault["field"]))}
    if not codes & set(SAID_IN_WORDS):
        raise AssertionError(f"the document calls this valid, and the server refuses it: {problem}")


schemathesis.auth(refresh_interval=SECONDS_SIGNED_IN, cache_by_key=_account, retry_on=[401])(SignIn)
schemathesis.hook("before_load_schema")(before_load_schema)
schemathesis.hook("before_call")(before_call)
schemathesis.hook("after_call")(after_call)
atexit.register(_write_tally)
schemathesis.serializer(MSGPACK)(_pack)
schemathesis.deserializer(MSGPACK)(_unpack)
schemathesis.check(valid_is_no_400)
