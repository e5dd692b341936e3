"""Small readings of payloads and names that the compiler and the policy share: reviewers, dotted field paths."""

from __future__ import annotations

import re

GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}")
USER_PREFIX = "user:"
ROUND_ROBIN = "round_robin"
FIELD_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*){0,15}")


def is_reviewer(text: str) -> bool:
    """Whether `text` is the name of a group, or `user:` and the name of a person."""
    return GROUP.fullmatch(text.removeprefix(USER_PREFIX)) is not None


def split_path(path: str) -> tuple[str, ...]:
    """`a.b` as its parts."""
    return tuple(path.split("."))
