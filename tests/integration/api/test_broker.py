"""A broker that is away or says nothing holds nobody up: what counts is committed by then."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from tests.integration.api.client import Api, Contract

from signoff.engine import build_engine
from signoff.settings import Settings
from signoff_api.app import FEATURES, create_app
from signoff_api.openapi import describe

STEP = """
workflow: silent
steps:
  - gate: approve
    reviewers: leads
  - step: nowhere:act
"""


@pytest.fixture
def silent_broker_url() -> Iterator[str]:
    """A server that takes connections and never answers, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_decision_is_answered_soon_while_the_broker_says_nothing(
    api: Api, module_database_url: str, silent_broker_url: str
) -> None:
    api.as_("author").register(STEP, "silent")
    settings = Settings(database_url=module_database_url, broker_url=silent_broker_url)
    engine = build_engine(settings)
    muted = Api(app=create_app(engine, settings), engine=engine, contract=Contract(describe(FEATURES)), keys=api.keys)
    task = muted.as_("ana").task(muted.as_("portal").start("silent", {}))
    started = time.monotonic()
    decided = muted.as_("ana").ok(muted.as_("ana").decide(task, "approve"), 201)
    assert time.monotonic() - started < 6
    assert decided["run"]["status"] == "queued"
    engine.close()
