"""The API on a real database and broker, with the people of the examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.api.client import Api, Contract

from signoff.engine import Engine, build_engine
from signoff.settings import Settings
from signoff_api.app import FEATURES, create_app
from signoff_api.openapi import describe

EXPENSE = """
workflow: expense
description: Somebody wants money back.
input:
  type: object
  properties:
    amount: {type: number, minimum: 0, maximum: 5000}
    text: {type: string}
  required: [amount]
steps:
  - gate: approve
    reviewers: leads
    title: "Pay {amount}"
    editable: [amount]
    options: [approve, reject, escalate]
    consequences: {approve: "Pays {amount}.", reject: "Nothing is paid."}
    due: 4h
    on_escalate: fail
"""


@pytest.fixture(scope="module")
def settings(module_database_url: str, valkey_url: str) -> Settings:
    return Settings(database_url=module_database_url, broker_url=valkey_url)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[Engine]:
    built = build_engine(settings, pool_size=8)
    yield built
    built.close()


@pytest.fixture(scope="module")
def api(engine: Engine, settings: Settings) -> Api:
    """The app, with a principal for each part there is to play, and the workflow `expense`."""
    app = create_app(engine, settings)
    made = Api(app=app, engine=engine, contract=Contract(describe(FEATURES)))
    made.add("admin", roles=("admin",))
    made.add("operator", roles=("operator",))
    made.add("auditor", roles=("auditor",))
    made.add("author", roles=("author",))
    made.add("portal", kind="service", roles=("requester",))
    made.add("robot", kind="agent", groups=("leads",), roles=("requester", "reviewer", "admin"))
    # A program that is in a group of reviewers is still no reviewer.
    made.add("bot", kind="service", groups=("leads",), roles=("reviewer",))
    made.add("ana", groups=("leads",), roles=("reviewer", "requester"))
    made.add("sam", groups=("leads",), roles=("reviewer", "requester"))
    made.add("max", groups=("managers",), roles=("reviewer",))
    made.add("zoe", groups=("others",), roles=("reviewer",))
    made.add("nobody")
    made.as_("author").register(EXPENSE, "expense")
    return made
