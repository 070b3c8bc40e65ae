"""Values that programs handle wrongly: extreme numbers, texts and shapes, as JSON text and as MessagePack bytes."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_LITERALS = [
    *("null", "true", "0", "-0", "1", "1.0", "1e5", "1e400", "-1e-400", "NaN", "Infinity", "-Infinity", "0x10", "01"),
    *(str(2**53), str(2**63), str(-(2**63) - 1), str(2**64), "9" * 400, "0." + "3" * 400),
    *(
        '""',
        '" "',
        r'"\u0000"',
        r'"\ud800"',
        r'"\udc00\ud800"',
        r'"\uFFFE"',
        '"\x00"',
        "'a'",
        '"\\q"',
        '"' + "a" * 9000,
    ),
    *('"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59.999999-23:59"', '"2026-02-30T00:00:00Z"', '"-1"'),
    *(
        "[" * 3000,
        '{"a":' * 3000,
        "[" * 40 + "]" * 40,
        '{"a":' * 2000 + "1" + "}" * 2000,
        "/**/",
        "\ufeff1",
        "undefined",
    ),
]
_NAMES = ["", "a", "type", "id", "data", "target_id", "body", "\\u0000", "\\ud800", "__class__", "a" * 5000]


def json_texts(*, names: list[str], valid: list[str]) -> SearchStrategy[str]:
    """Text that is JSON, nearly JSON or neither; an object may have a key twice."""
    scalar = st.sampled_from([*_LITERALS, *valid, *valid]) | st.integers().map(str) | st.floats().map(str)
    key = st.sampled_from([*names, *names, *_NAMES])

    def deeper(inner: SearchStrategy[str]) -> SearchStrategy[str]:
        member = st.tuples(key, inner).map(lambda pair: f'"{pair[0]}":{pair[1]}')
        lists = st.lists(inner, max_size=4).map(lambda parts: f"[{','.join(parts)}]")
        return lists | st.lists(member, max_size=6).map(lambda parts: f"{{{','.join(parts)}}}")

    return st.recursive(scalar, deeper, max_leaves=12)


TAGS = [
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xdb\xff\xff\xff\xff"),
    *(b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xc1", b"\xd4\x01a", b"\xd6\xff\xff\xff\xff\xff"),
    *(b"\xc7\x0c\xff" + b"\xff" * 12, b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xcb\x7f\xf0" + bytes(6)),
    *(
        b"\xcb\x7f\xf8" + bytes(6),
        b"\xa4\xed\xa0\x80a",
        b"\xa1\xff",
        b"\x91" * 3000,
        b"\x81\x80\x80",
        b"\x81\x91\x01\x02",
    ),
    *(b"\x81\x01\x02", b"\xc4\x01a", b"\xc0", b"\xc3", b"\x00", b"\x80", b"\x90", b"\xa0"),
]


def packed(value: Any) -> SearchStrategy[bytes]:
    """MessagePack of a value with some bytes replaced, removed or inserted: false lengths, and worse."""
    whole = msgspec.msgpack.encode(value)
    cut = st.tuples(
        st.integers(0, len(whole)), st.integers(0, 6), st.sampled_from([b"", *TAGS]) | st.binary(max_size=4)
    )

    def damaged(cuts: list[tuple[int, int, bytes]]) -> bytes:
        out = whole
        for at, length, instead in cuts:
            out = out[:at] + instead + out[at + length :]
        return out

    return st.lists(cut, max_size=3).map(damaged)


def damaged(whole: bytes, *, cuts: int = 4) -> SearchStrategy[bytes]:
    """A file with bytes replaced, removed, inserted or repeated."""
    at = st.integers(0, len(whole))
    change = st.tuples(at, st.integers(0, 64), st.binary(max_size=8))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        out = whole
        for place, length, instead in changes:
            out = out[:place] + instead + out[place + length :]
        return out

    return st.lists(change, min_size=1, max_size=cuts).map(apply)
