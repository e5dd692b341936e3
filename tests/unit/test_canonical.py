from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from signoff.canonical import MAX_SAFE_INTEGER, canonical, sha256_hex

SAFE_INTEGERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ASCII = st.text(st.characters(max_codepoint=127), max_size=30)


def json_of(scalars: Any, keys: Any) -> Any:
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
    )


WHOLE = st.integers(-(10**16), 10**16).map(float) | st.just(-0.0)
EVERYDAY = st.floats(-1e16, 1e16, allow_nan=False)
PLAIN = json_of(st.none() | st.booleans() | SAFE_INTEGERS | TEXTS | WHOLE | EVERYDAY, ASCII)
ANY = json_of(
    st.none() | st.booleans() | SAFE_INTEGERS | TEXTS | st.floats(allow_nan=False, allow_infinity=False), TEXTS
)


@given(PLAIN)
def test_the_fast_path_writes_the_bytes_of_the_rfc(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(ANY)
def test_every_value_has_the_bytes_of_the_rfc(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(ANY)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    if isinstance(value, dict):
        assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_keys_are_ordered_by_utf_16_units() -> None:
    assert canonical({"\ufb33": 1, "\U0001f600": 2, "a": 3}) == '{"a":3,"\U0001f600":2,"\ufb33":1}'.encode()


def test_numbers_are_written_as_ecmascript_does() -> None:
    assert canonical([1.0, 1e21, 0.1, -0.0, 1e-7]) == b"[1,1e+21,0.1,0,1e-7]"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {"a": ["\udfff"]}])
def test_what_the_rfc_has_no_form_for_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r".*"):
        canonical(value)


def test_the_hash_is_over_the_canonical_bytes() -> None:
    assert sha256_hex({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
