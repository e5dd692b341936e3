"""The API's own documentation: the OpenAPI document, and a page that shows it without asking anybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import Response, render_template

from signoff_api import problems
from signoff_api.answers import to_bytes
from signoff_api.context import wiring
from signoff_api.requests import JSON
from signoff_api.routing import Answer, Routes

ROOT = str(Path(__file__).parent)
_REVALIDATE = {"Cache-Control": "no-cache"}
_SAME_ORIGIN = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

routes = Routes(tag="documentation", description="What you are reading.", prefix="")


@routes.route("GET", "/openapi.json", answers={200: Answer(description="This document.", model=None)}, public=True)
def read_openapi() -> Response:
    """Read the OpenAPI document."""
    return Response(wiring().documentation.json, content_type=JSON, headers=_REVALIDATE)


@routes.route(
    "GET",
    "/docs",
    answers={200: Answer(description="The page.", model=None, media_type="text/html")},
    public=True,
)
def read_docs() -> Response:
    """Read the documentation as a page."""
    headers = _REVALIDATE | {"Content-Security-Policy": _SAME_ORIGIN}
    return Response(wiring().documentation.page, content_type="text/html; charset=utf-8", headers=headers)


@routes.route(
    "GET",
    "/docs/style.css",
    answers={200: Answer(description="The style sheet.", model=None, media_type="text/css")},
    public=True,
)
def read_docs_style() -> Response:
    """Read the page's style sheet."""
    style = (Path(ROOT) / "static" / "docs.css").read_bytes()
    return Response(style, content_type="text/css; charset=utf-8", headers=_REVALIDATE)


class Documentation:
    """The document and its page, each written once and when it is first asked for."""

    def __init__(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        self._describe = describe

    @cached_property
    def document(self) -> Mapping[str, Any]:
        return self._describe()

    @cached_property
    def json(self) -> bytes:
        return to_bytes(self.document)

    @cached_property
    def page(self) -> str:
        return render_template("docs.html", document=self.document, problems=problems.KINDS.values())
