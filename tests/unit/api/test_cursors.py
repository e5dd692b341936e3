"""Cursors: they hold a sort key, belong to one list, and nothing else passes for one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signoff.errors import InvalidInput
from signoff.store.queries import SortKey, decode_cursor, encode_cursor, read_int, read_time, read_uuid
from signoff.store.schema import human_tasks

QUERY = {"list": "human_tasks", "state": "open", "sort": "due_at"}
BY_DUE = [
    SortKey(column=human_tasks.c.due_at, read=read_time, nullable=True),
    SortKey(column=human_tasks.c.id, read=read_uuid),
]
BY_PRIORITY = [
    SortKey(column=human_tasks.c.priority, read=read_int, descending=True),
    SortKey(column=human_tasks.c.id, read=read_uuid),
]


@given(st.none() | st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_gives_back_its_sort_key(due_at: datetime | None, identifier: UUID) -> None:
    cursor = encode_cursor(QUERY, [due_at, identifier])
    assert cursor is not None
    assert decode_cursor(cursor, QUERY, BY_DUE) == [due_at, identifier]


def test_the_end_of_a_list_has_no_cursor() -> None:
    assert encode_cursor(QUERY, None) is None


def test_a_cursor_belongs_to_one_list() -> None:
    cursor = encode_cursor(QUERY, [None, UUID(int=1)])
    assert cursor is not None
    for other in (QUERY | {"state": "all"}, QUERY | {"sort": "-due_at"}, {"list": "runs"}):
        with pytest.raises(InvalidInput, match="other filters"):
            decode_cursor(cursor, other, BY_DUE)


@given(st.text(max_size=30) | st.binary(max_size=30).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidInput):
        decode_cursor(text, QUERY, BY_DUE)


@pytest.mark.parametrize(
    "key",
    [
        [],
        [1],
        [1, "x"],
        [None, str(UUID(int=1))],
        [2**40, str(UUID(int=1))],
        [True, str(UUID(int=1))],
        [1, None],
        [1, str(UUID(int=1)), 1],
        {"a": 1},
        "x",
        ["1", str(UUID(int=1))],
    ],
)
def test_a_forged_sort_key_is_no_cursor(key: Any) -> None:
    genuine = encode_cursor(QUERY, [1, UUID(int=1)])
    assert genuine is not None
    fingerprint = json.loads(base64.urlsafe_b64decode(genuine + "=="))[0]
    forged = [fingerprint, *key] if isinstance(key, list) else key
    text = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidInput):
        decode_cursor(text, QUERY, BY_PRIORITY)
