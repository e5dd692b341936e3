"""Identifiers: UUID version 7, so that keys of a table arrive roughly in order and an index stays dense."""

from __future__ import annotations

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A fresh, time-ordered identifier with 74 random bits."""
    made: uuid.UUID = uuid7()
    return made


def parse_id(text: str) -> uuid.UUID | None:
    """The identifier that `text` spells in its canonical form, or None; other spellings are not the same id."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
