"""Health: whether the process lives, and whether it can do its work."""

from __future__ import annotations

from flask import Response

from signoff.errors import Unavailable
from signoff_api import answer_models
from signoff_api.answers import answer
from signoff_api.context import wiring
from signoff_api.routing import Answer, Routes

routes = Routes(tag="health", description="For those who run this server.", prefix="")


@routes.route("GET", "/healthz", answers={200: Answer(description="Alive.", model=answer_models.Health)}, public=True)
def read_liveness() -> Response:
    """Say whether this process lives."""
    return answer({"status": "ok"})


@routes.route(
    "GET",
    "/readyz",
    answers={200: Answer(description="Ready.", model=answer_models.Readiness)},
    problems=(503,),
    public=True,
)
def read_readiness() -> Response:
    """Say whether the database and the broker are reachable."""
    away = [name for name, probe in wiring().probes.items() if not probe.answers()]
    if away:
        raise Unavailable(f"not reachable: {' and '.join(away)}", fix="see that it runs, and that its URL is right")
    return answer({"status": "ok", "database": "ok", "broker": "ok"})
