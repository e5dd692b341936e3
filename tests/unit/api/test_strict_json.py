"""JSON from outside is read strictly, and quickly whatever it is."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff import strict_json
from signoff.errors import MalformedInput, TooLarge

LIMIT = 2_000_000
MAX = 2**53 - 1


def loads(raw: bytes) -> Any:
    return strict_json.loads(raw, max_bytes=LIMIT)


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX, MAX) | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_texts, inner, max_size=5),
    max_leaves=20,
)


@given(_values, st.booleans())
def test_every_value_that_has_a_form_is_read_back(value: Any, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=40))
def test_whatever_comes_is_a_value_or_malformed(raw: bytes) -> None:
    try:
        found = loads(raw)
    except MalformedInput:
        return
    assert found == json.loads(raw)


@given(st.text('[]{}",:\\1 a', max_size=60), st.integers(1, 6))
def test_depth_is_counted_outside_strings_only(text: str, most: int) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(MalformedInput):
            strict_json.loads(text.encode(), max_bytes=LIMIT, max_depth=most)
        return

    def depth(part: Any) -> int:
        if isinstance(part, dict):
            return 1 + max(map(depth, part.values()), default=0)
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    if depth(value) > most:
        with pytest.raises(MalformedInput, match="deeper"):
            strict_json.loads(text.encode(), max_bytes=LIMIT, max_depth=most)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"a":1,"b":{"c":1,"c":2}}', '"c"'),
        (b'{"a":1,"\\u0061":2}', '"a"'),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "1e400"),
        (b"-1e400", "-1e400"),
        (b"9007199254740992", "9007199254740992"),
        (b"-9007199254740992", "-9007199254740992"),
        (b'{"a":["\\ud800"]}', "/a/0"),
        (b'{"a":"\\udc00\\ud800"}', "/a"),
        (b'{"a\\u0000b":1}', "NUL"),
        (b'"a\x00b"', "control character"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b"\xef\xbb\xbf1", "byte order mark"),
        (b"", "line 1, column 1"),
        (b'{\n "a": }', "line 2, column 7"),
        (b"[1,]", "not JSON"),
        (b"01", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"'a'", "not JSON"),
        (b"[" * 65 + b"]" * 65, "64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64"),
    ],
)
def test_what_is_refused_is_named(raw: bytes, says: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        loads(raw)
    assert says in caught.value.detail
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"9007199254740991", MAX),
        (b"-9007199254740991", -MAX),
        (b"1e-400", 0.0),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'{"a":{"b":1},"b":1}', {"a": {"b": 1}, "b": 1}),
        (b"[" * 64 + b"]" * 64, json.loads("[" * 64 + "]" * 64)),
        (b'["[[[[", "]]{"]', ["[[[[", "]]{"]),
    ],
)
def test_what_is_at_the_edge_is_read(raw: bytes, value: Any) -> None:
    assert loads(raw) == value


def test_more_bytes_than_allowed_are_not_looked_at() -> None:
    with pytest.raises(TooLarge):
        strict_json.loads(b"x" * 11, max_bytes=10)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"[" * 500_000 + b"]" * 500_000,
        b"[]" * 500_000,
        b'"' + b"\\" * 999_999,
        b'"' + b'\\"' * 499_999,
        b'["' + b'","' * 330_000 + b'"]',
        b"1" * 1_000_000,
        b"-1." + b"1" * 1_000_000,
        b"{" + b'"a":1,' * 160_000 + b'"a":1}',
    ],
)
def test_a_bomb_costs_less_than_a_second(raw: bytes) -> None:
    begun = time.process_time()
    with suppress(MalformedInput):
        loads(raw)
    assert time.process_time() - begun < 1
