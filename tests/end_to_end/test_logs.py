"""Log records as text and as JSON."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from messenger.observability.logs import JsonFormatter, TextFormatter

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\S+Z \w+ +\S+: ")
FAKE = "2026-01-01T00:00:00.000Z info    messenger: nothing happened"


def _written(formatter: logging.Formatter, message: str, error: Exception | None = None) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    info = (type(error), error, error.__traceback__) if error else None
    handler.handle(logging.LogRecord("messenger", logging.ERROR, "", 0, message, None, info))
    return stream.getvalue()


def _raised() -> Exception:
    try:
        raise ValueError(f"first line\n{FAKE}")
    except ValueError as error:
        return error


class TestTextLog:
    def test_traceback_of_an_exception_spans_several_lines(self) -> None:
        lines = _written(TextFormatter(), "it failed", _raised()).splitlines()
        assert lines[0].endswith(" error   messenger: it failed")
        assert lines[1] == "    Traceback (most recent call last):"
        assert "    ValueError: first line" in lines

    def test_traceback_within_a_message_spans_several_lines(self) -> None:
        text = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no\n'
        lines = _written(TextFormatter(), text).splitlines()
        assert lines[1:] == ['      File "x.py", line 1', "    ValueError: no"]

    @pytest.mark.parametrize("separator", ["\n", "\r\n", "\r"])
    def test_continuation_lines_are_indented(self, separator: str) -> None:
        text = _written(TextFormatter(), f"name{separator}{FAKE}", _raised())
        assert [bool(RECORD.match(line)) for line in text.splitlines()].count(True) == 1
        assert "\r" not in text


class TestJsonLog:
    def test_json_record_is_single_line(self) -> None:
        text = _written(JsonFormatter(), f"name\n{FAKE}", _raised())
        assert text.count("\n") == 1
        assert json.loads(text)["message"] == f"name\n{FAKE}"
