"""Routes with their contract: what a request may hold, what it is answered, and the view between.

One declaration serves three readers: Flask routes by it, requests are parsed by its pydantic models, and the
OpenAPI document is written from it, so none of them can say something else than the others.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, get_type_hints
from uuid import UUID

from flask import Flask, Response, request
from pydantic import BaseModel, ConfigDict
from werkzeug.exceptions import HTTPException

from signoff.errors import NotFound, SignoffError
from signoff.ids import parse_id
from signoff_api.context import authenticated
from signoff_api.requests import JSON, Document, read_body, read_document, read_query, refuse_large

Method: TypeAlias = Literal["GET", "PUT", "POST", "DELETE"]
View: TypeAlias = Callable[..., Response]
V = TypeVar("V", bound=View)

_PLACE = re.compile(r"\{(\w+)\}")
MAX_PATH_TEXT = 128
"""Characters of a name in a path; nothing that is stored has a longer one."""
MAX_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that a request may carry, or an answer does."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way an operation ends well. `model` is None for text of another kind."""

    description: str
    model: Any
    headers: tuple[Header, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One verb on one path: the whole of what is promised about it."""

    method: Method
    path: str
    tag: str
    view: View
    answers: Mapping[int, Answer]
    problems: tuple[int, ...]
    headers: tuple[Header, ...]
    path_parameters: Mapping[str, type]
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    takes_document: bool
    body_optional: bool
    media_types: tuple[str, ...]
    public: bool
    signed_body: type[BaseModel] | None
    asks_again: bool

    @property
    def id(self) -> str:
        """Its name in the OpenAPI document and in metrics."""
        return self.view.__name__

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.view) or "").split("\n\n", maxsplit=1)[0].replace("\n", " ").rstrip(".")

    @property
    def description(self) -> str:
        return (inspect.getdoc(self.view) or "").partition("\n\n")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The operations of one feature."""

    tag: str
    description: str
    prefix: str = "/api/v1"
    operations: list[Operation] = field(default_factory=list)

    def route(
        self,
        method: Method,
        path: str,
        *,
        answers: Mapping[int, Answer],
        problems: Sequence[int] = (),
        headers: Sequence[Header] = (),
        body_optional: bool = False,
        media_types: Sequence[str] = (JSON,),
        public: bool = False,
        signed_body: type[BaseModel] | None = None,
        asks_again: bool = False,
    ) -> Callable[[V], V]:
        """Declare the decorated view as an operation.

        Its parameters say what it is handed: `context` (unless it is public), `query` and `body` by the
        models they are annotated with, `document` as the bytes of one of `media_types`, and each place in the
        path by its name, as UUID, int or str. With `signed_body` there is no key: the view reads the body itself, by
        that model and once its signature has been verified. With `asks_again` what the view does reads the caller once
        more as it is done, so whoever came with the same key a moment ago is not looked up before as well.
        """

        def declare(view: V) -> V:
            hints = get_type_hints(view)
            self.operations.append(
                Operation(
                    method=method,
                    path=self.prefix + path,
                    tag=self.tag,
                    view=view,
                    answers=answers,
                    problems=tuple(problems),
                    headers=tuple(headers),
                    path_parameters={name: hints[name] for name in _PLACE.findall(path)},
                    query=hints.get("query"),
                    body=hints.get("body"),
                    takes_document=hints.get("document") is Document,
                    body_optional=body_optional,
                    media_types=tuple(media_types),
                    public=public,
                    signed_body=signed_body,
                    asks_again=asks_again,
                )
            )
            return view

        return declare


def mount(app: Flask, features: Sequence[Routes]) -> None:
    """Let `app` serve the operations of these features."""
    for routes in features:
        for operation in routes.operations:
            app.add_url_rule(
                _PLACE.sub(r"<\1>", operation.path),
                endpoint=operation.id,
                view_func=_handler(operation),
                methods=[operation.method],
            )


class _NoParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _handler(operation: Operation) -> Callable[..., Response]:
    """What Flask calls: authenticate, parse the path, the query and the body, then the view."""

    def handle(**places: str) -> Response:
        if operation.public or operation.signed_body:
            return operation.view(**_places(operation, places))
        # Before anything is parsed: who has no key learns nothing and costs little.
        context = authenticated(remembered=operation.asks_again)
        arguments: dict[str, Any] | None = None
        try:
            arguments = _arguments(operation, context.settings.max_request_bytes) | _places(operation, places)
            return operation.view(context=context, **arguments)
        except (SignoffError, HTTPException):
            if not context.remembered:
                raise
            # Only what was done rests on a caller who was read again. A refusal has to, too.
            anew = authenticated()
            if arguments is None or anew.principal == context.principal:
                raise
        return operation.view(context=anew, **arguments)

    return handle


def _arguments(operation: Operation, max_bytes: int) -> dict[str, Any]:
    """What the view is handed of the query and the body."""
    arguments: dict[str, Any] = {}
    refuse_large(request, max_bytes)
    parameters = read_query(operation.query or _NoParameters, request)
    if operation.query is not None:
        arguments["query"] = parameters
    if operation.body is not None:
        optional = operation.body_optional
        arguments["body"] = read_body(operation.body, request, max_bytes=max_bytes, optional=optional)
    if operation.takes_document:
        arguments["document"] = read_document(request, operation.media_types, max_bytes=max_bytes)
    return arguments


def _places(operation: Operation, places: Mapping[str, str]) -> dict[str, UUID | int | str]:
    """What the view is handed of the path."""
    return {name: _place(operation.path_parameters[name], text) for name, text in places.items()}


def _place(kind: type, text: str) -> UUID | int | str:
    """What a place in the path holds. Raises NotFound for what can't name anything."""
    found: UUID | int | str | None = None
    if kind is UUID:
        found = parse_id(text)
    elif kind is int:
        found = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
        found = found if isinstance(found, int) and 1 <= found <= MAX_NUMBER else None
    elif text.isprintable() and len(text) <= MAX_PATH_TEXT:
        found = text
    if found is None:
        raise NotFound(f"{text[:MAX_PATH_TEXT]!a} names nothing here")
    return found
