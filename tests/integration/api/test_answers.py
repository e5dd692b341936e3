"""What an operation answers is what it made, however quick the workers are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

import pytest
from tests.integration.api.client import Api, Contract

from signoff.engine import Engine
from signoff.settings import Settings
from signoff.store.database import Database
from signoff_api.app import FEATURES, create_app
from signoff_api.openapi import describe

STEPS = """
workflow: quick
steps:
  - gate: ask
    reviewers: leads
  - step: nowhere:to_be_found
"""


class Quick:
    """A broker with a worker behind it that takes a run before anybody else can look."""

    engine: Engine | None = None

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:
        assert self.engine is not None
        for run_id, epoch, _ in messages:
            assert self.engine.claim_run(run_id, epoch=epoch, worker="quick") is not None
        return True

    def backlog(self, queue: str) -> int:
        return 0

    def ping(self) -> None:
        """There is nothing to reach."""

    def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    settings = Settings(database_url=database_url, broker_url="redis://127.0.0.1:1/0")
    quick = Quick()
    engine = Engine(database=Database.connect(database_url, pool_size=3), publisher=quick, settings=settings)
    quick.engine = engine
    made = Api(app=create_app(engine, settings), engine=engine, contract=Contract(describe(FEATURES)))
    made.add("admin", roles=("admin",))
    made.add("ana", groups=("leads",), roles=("reviewer", "requester"))
    made.as_("admin").register(STEPS, "quick")
    made.as_("admin").register(
        STEPS.replace("quick", "direct").replace("  - gate: ask\n    reviewers: leads\n", ""), "direct"
    )
    yield made
    engine.close()


def test_a_decision_says_that_the_run_is_queued(api: Api) -> None:
    run = api.as_("admin").start("quick", {})
    ana = api.as_("ana")
    decided = ana.ok(ana.decide(ana.task(run), "approve"), 201)
    assert decided["run"]["status"] == "queued"
    assert ana.ok(ana.get(f"/runs/{run['id']}"))["status"] == "running"


def test_a_start_says_that_the_run_is_queued(api: Api) -> None:
    admin = api.as_("admin")
    run = admin.start("direct", {})
    assert run["status"] == "queued"
    assert admin.ok(admin.get(f"/runs/{run['id']}"))["status"] == "running"
