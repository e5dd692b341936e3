"""Answers in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response

MEDIA_TYPE = "application/json"


def to_bytes(value: Any) -> bytes:
    """JSON bytes of what is made of JSON values, UUIDs and keys of any text."""
    return orjson.dumps(value)


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(to_bytes(value), status, dict(headers or {}), content_type=MEDIA_TYPE)


def etag(revision: int) -> str:
    """The entity tag that stands for a revision of a human task."""
    return f'"{revision}"'
