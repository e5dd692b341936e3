"""The Flask app: its features, and what every answer has."""

from __future__ import annotations

import re
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g, request

from signoff.settings import Settings
from signoff.store.queries_counts import count
from signoff_api import (
    audit,
    authority,
    callbacks,
    decisions,
    docs,
    health,
    human_tasks,
    metrics,
    problems,
    runs,
    webhooks,
    work,
    workflows,
)
from signoff_api.context import Wiring, wire
from signoff_api.inbox.blueprint import install as install_inbox
from signoff_api.metrics import Metrics
from signoff_api.openapi import describe
from signoff_api.probes import Probe
from signoff_api.requests import discard_body
from signoff_api.routing import Routes, mount

if TYPE_CHECKING:
    from signoff.engine import Engine

FEATURES: tuple[Routes, ...] = (
    workflows.routes,
    runs.routes,
    human_tasks.routes,
    decisions.routes,
    callbacks.routes,
    audit.routes,
    authority.routes,
    webhooks.routes,
    work.routes,
    health.routes,
    metrics.routes,
    docs.routes,
)

_log = structlog.get_logger("signoff.api")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN_PLACE = re.compile(r"((?:sign-in|callbacks|/l)/+).+|s[lc]_[a-z2-7]{8}_.+", re.IGNORECASE | re.DOTALL)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def create_app(engine: Engine, settings: Settings) -> Flask:
    """The API on this engine. Opens no connection; build it after a fork."""
    app = Flask("signoff_api", root_path=docs.ROOT, static_folder=None, template_folder="templates")
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # A path with a slash too many is another path; a redirect would lose the body.
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    wiring = Wiring(
        engine=engine,
        settings=settings,
        probes={"database": Probe(engine.database.ping), "broker": Probe(engine.publisher.ping)},
        metrics=Metrics(partial(count, engine.database)),
        documentation=docs.Documentation(partial(describe, FEATURES)),
    )
    wire(app, wiring)
    problems.install(app)
    mount(app, FEATURES)
    install_inbox(app)
    app.before_request(_begin)
    app.after_request(partial(_finish, wiring.metrics))
    return app


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def _finish(counted: Metrics, response: Response) -> Response:
    discard_body(request)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", _CLOSED)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Request-Id"] = g.request_id
    seconds = time.perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule is not None else "none"
    counted.observe(method=request.method, route=route, status=response.status_code, seconds=seconds)
    # Neither the query nor a header nor the token of a link or a callback: those are nobody's business. A link with a
    # slash too many is no route of ours, and its token opens something all the same.
    _log.info(
        "request",
        method=request.method,
        path=_TOKEN_PLACE.sub(lambda found: f"{found[1] or ''}…", request.path)[:200],
        status=response.status_code,
        ms=round(seconds * 1000, 2),
        by=g.get("principal"),
        request_id=g.request_id,
    )
    return response
