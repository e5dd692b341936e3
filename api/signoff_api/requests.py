"""Reading requests: strict JSON, known fields only, and errors that name the place and the fix."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin

from flask import Request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from signoff import strict_json
from signoff.canonical import Json, canonical
from signoff.errors import FieldError, InvalidInput, MalformedInput, PreconditionRequired
from signoff.store.idempotency import IdempotencyKey

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
MAX_ERRORS = 50
"""Bad fields that one answer lists."""
MAX_DISCARDED = 16 * 1024 * 1024
"""Bytes of an unwanted body that are taken, so that its sender reads the answer."""
_CHUNK = 65_536

M = TypeVar("M", bound=BaseModel)

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A body that is read by its media type."""

    media_type: str
    data: bytes


def read_bytes(request: Request, max_bytes: int) -> bytes:
    """The body. Raises RequestEntityTooLarge when it has more bytes, however it is sent; MalformedInput."""
    # Werkzeug's own limit cuts a body in chunks at the limit and says nothing; what is left could be another
    # document.
    refuse_large(request, max_bytes)
    data = _read(request, max_bytes + 1)
    if len(data) > max_bytes:
        raise RequestEntityTooLarge
    return data


def refuse_large(request: Request, max_bytes: int) -> None:
    """Raises RequestEntityTooLarge when the request announces a larger body, wanted here or not."""
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge


def discard_body(request: Request) -> None:
    """Take what is left of a body that nobody wanted, up to a bound.

    A connection that is closed on unread bytes is reset, and the client then never sees why it was refused.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return
    left = MAX_DISCARDED
    with suppress(MalformedInput):
        while left > 0 and (piece := _piece(request, _CHUNK)):
            left -= len(piece)


def _read(request: Request, size: int) -> bytes:
    parts, missing = [], size
    while missing and (part := _piece(request, min(missing, _CHUNK))):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _piece(request: Request, size: int) -> bytes:
    try:
        return request.stream.read(size)
    except Exception as error:
        # Each WSGI server has errors of its own for a chunk that is malformed or a client that is gone or too
        # slow, and nothing of ours runs in there.
        raise MalformedInput("the body did not arrive whole") from error


def read_document(request: Request, media_types: Sequence[str], *, max_bytes: int) -> Document:
    """The body, when it is of one of these media types.

    Raises UnsupportedMediaType, RequestEntityTooLarge or MalformedInput.
    """
    return Document(media_type=check_media_type(request, media_types), data=read_bytes(request, max_bytes))


def check_media_type(request: Request, media_types: Sequence[str]) -> str:
    """The media type of the body, when it is one of these. Raises UnsupportedMediaType."""
    found = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if found not in media_types or charset not in ("utf-8", "utf8", "us-ascii"):
        sent = request.headers.get("Content-Type", "none")[:100]
        raise UnsupportedMediaType(f"the Content-Type is {sent!a}; send {' or '.join(media_types)}, in UTF-8")
    return found


def read_body(model: type[M], request: Request, *, max_bytes: int, optional: bool) -> M:
    """The body by its model; with `optional` an empty one is an empty object.

    Raises UnsupportedMediaType, RequestEntityTooLarge, MalformedInput or InvalidInput.
    """
    if optional and not request.content_length and "Transfer-Encoding" not in request.headers:
        return model()
    return parse_body(model, read_document(request, (JSON,), max_bytes=max_bytes).data, max_bytes=max_bytes)


def parse_body(model: type[M], data: bytes, *, max_bytes: int) -> M:
    """A JSON body by its model. Raises MalformedInput or InvalidInput."""
    value = strict_json.loads(data, max_bytes=max_bytes)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InvalidInput(errors=_field_errors(error, _pointer)) from error


def read_query(model: type[M], request: Request) -> M:
    """The query parameters by their model; each at most once, unless the model has a list for it."""
    lists = {name for name, part in model.model_fields.items() if get_origin(part.annotation) is list}
    values: dict[str, Any] = {}
    errors = []
    for name, given in request.args.to_dict(flat=False).items():
        if any("\x00" in text for text in given):
            errors.append(FieldError(path=_parameter([name]), message="has a NUL character", fix="remove it"))
        if len(given) > 1 and name not in lists:
            errors.append(FieldError(path=_parameter([name]), message="is there twice", fix="send it once"))
        values[name] = given if name in lists else given[0]
    if errors:
        raise InvalidInput(errors=errors[:MAX_ERRORS])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(errors=_field_errors(error, _parameter)) from error


def read_revision(request: Request) -> int | None:
    """The revision that `If-Match` names, None without the header and for `*`, which any revision is.

    Raises MalformedInput when it holds no entity tag, PreconditionRequired when it holds several.
    """
    text = request.headers.get("If-Match")
    # "Any revision" does not say what the reviewer saw; where the body does, it does no harm.
    if text is None or text.strip() == "*":
        return None
    # Nor does "one of these".
    if "," in text:
        raise PreconditionRequired(
            "If-Match has to name the one revision that you saw", fix="send the ETag of the human task you read"
        )
    tag = _ENTITY_TAG.fullmatch(text.strip())
    if tag is None:
        raise MalformedInput("If-Match holds no entity tag", fix='send the ETag as it came, such as "3"')
    # A proxy that compresses marks our tag as weak; the revision it names is the same. A tag that no revision
    # has can't match what is there now, and neither can revision 0.
    return int(tag[2]) if re.fullmatch(r"[1-9]\d{0,8}", tag[2]) else 0


def read_idempotency_key(request: Request, body: Json) -> IdempotencyKey | None:
    """The caller's `Idempotency-Key` with the fingerprint of this request. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInput(
            errors=[
                FieldError(
                    path="Idempotency-Key",
                    message="is no key",
                    fix="send 1 to 255 printable ASCII characters, such as a UUID",
                )
            ]
        )
    said = b"\n".join((request.method.encode(), request.path.encode(), canonical(body)))
    return IdempotencyKey(key=key, fingerprint=hashlib.sha256(said).hexdigest())


def _field_errors(error: ValidationError, spell: Any) -> list[FieldError]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldError(path=spell(item["loc"]), message=_message(item["type"], item["msg"]), fix=_fix(item["type"]))
        for item in found[:MAX_ERRORS]
    ]


def _message(kind: str, message: str) -> str:
    known = {
        "extra_forbidden": "is not a field that is known here",
        "missing": "is missing",
        # pydantic's own words for these name its classes.
        "model_type": "is no object",
        "dict_type": "is no object",
    }
    return known.get(kind, message.removeprefix("Value error, "))


def _fix(kind: str) -> str | None:
    return "remove it, or correct its name" if kind == "extra_forbidden" else None


def _pointer(place: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901) into the body."""
    # pydantic marks a key that is wrong itself by one more part, which is nowhere in the body.
    parts = [str(part)[:100].replace("~", "~0").replace("/", "~1") for part in place if part != "[key]"]
    return "/" + "/".join(parts)


def _parameter(place: Iterable[str | int]) -> str:
    return "?" + ".".join(str(part)[:100] for part in place)
