"""A gate with a condition and a sample, and people who decide what it asks, for the tests of its figures."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from flask import Flask
from tests.integration.engine.world import RecordingPublisher, shift_clock
from werkzeug.test import TestResponse

from signoff.definition.document import compile_document, parse_yaml
from signoff.engine import DecisionRequest, Engine
from signoff.identity import Principal
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.identity import create_principal
from signoff.store.sessions import start_session
from signoff_api.app import create_app

REFUND = """
workflow: {name}
input:
  type: object
  properties:
    amount: {{type: number}}
    confidence: {{type: number}}
    reply: {{type: string}}
  required: [amount, confidence]
steps:
  - gate: approve
    reviewers: leads
    title: "Refund {{amount}}"
    review_if: {condition}
    score: confidence
    sample: {sample}
    editable: [amount, reply]
    options: [approve, reject, escalate]
    due: 1h
    on_timeout: reject
    on_escalate: fail
    {more}
"""


CONDITION = "amount > 100.0 || confidence < 0.85"


PEOPLE = {
    "admin": ["admin"],
    "operator": ["operator"],
    "auditor": ["auditor"],
    "author": ["author"],
    "ana": ["reviewer"],
    "portal": ["requester"],
    "nobody": [],
}


@dataclass(kw_only=True)
class Site:
    """The app, somebody for each role, and what was done at the gate `approve` of a workflow."""

    app: Flask
    engine: Engine
    people: dict[str, Principal]
    tokens: dict[str, str]
    done: list[tuple[float, str | None]] = field(default_factory=list)

    @classmethod
    def on(cls, database_url: str) -> Site:
        shift_clock(database_url)
        settings = Settings(database_url=database_url)
        database = Database.connect(database_url, pool_size=4)
        engine = Engine(database=database, publisher=RecordingPublisher(), settings=settings)
        people = {
            name: create_principal(database, name=name, kind="user", groups=["leads"], roles=roles)
            for name, roles in PEOPLE.items()
        }
        tokens = {
            name: start_session(database, person, hours=1, user_agent="", key=None) for name, person in people.items()
        }
        return cls(app=create_app(engine, settings), engine=engine, people=people, tokens=tokens)

    def get(self, path: str, by: str | None = "operator", **query: str) -> TestResponse:
        client = self.app.test_client()
        if by is not None:
            client.set_cookie("signoff_session", self.tokens[by])
        return client.get(path, query_string=query or None)

    def table(self, part: str, gate: str = "refund/approve", **query: str) -> list[dict[str, str]]:
        """One part's CSV."""
        answer = self.get("/insights.csv", part=part, gate=gate, **query)
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text)))

    def whatif(self, threshold: str, **query: str) -> dict[str, str]:
        return {row["measure"]: row["value"] for row in self.table("whatif", threshold=threshold, **query)}

    def register(self, name: str, condition: str = CONDITION, sample: float = 0.5, more: str = "") -> None:
        document = REFUND.format(name=name, condition=condition, sample=sample, more=more)
        self.engine.register(compile_document(parse_yaml(document)).graph, by=SYSTEM)

    def start(self, workflow: str, confidence: float, amount: float = 5) -> UUID | None:
        """The human task of a new run, None when policy passed it."""
        value = {"amount": amount, "confidence": confidence, "reply": "Sorry."}
        run = self.engine.start(workflow=workflow, input=value, requester=self.people["portal"])
        rows = self.sql("SELECT id FROM human_tasks WHERE run_id = %s", run.run_id)
        return rows[0][0] if rows else None

    def decide(self, task: UUID, decision: str, **more: Any) -> None:
        request = DecisionRequest(decision=decision, note="so", revision=1, **more)
        self.engine.decide(task, request, by=self.people["ana"])

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.engine.database.transaction() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def later(self, seconds: float) -> None:
        """Move the database's clock on."""
        self.sql("UPDATE shifted.by SET seconds = seconds + %s", seconds)


def fill(made: Site) -> None:
    """Let the gate decide enough for an estimate. `done` has the score and what a person said of each run.

    Half of what the condition lets pass is sampled. Below 0.7 people reject, from 0.7 to 0.85 they edit every second
    one, above it they reject every third one that they see.
    """
    made.register("refund")
    made.register("quiet")
    sampled = 0
    for n in range(40):
        _review(made, 0.5 + n / 200, "reject")
    for n in range(40):
        _review(made, 0.7 + n / 300, "edit" if n % 2 else "approve")
    while sampled < 36:
        word = _review(made, 0.86 + (sampled % 10) / 100, "reject" if sampled % 3 == 0 else "approve")
        sampled += word is not None


def _review(site: Site, confidence: float, word: str) -> str | None:
    task = site.start("refund", confidence)
    if task is not None:
        patch = {"amount": 4.0} if word == "edit" else None
        site.decide(task, "approve" if word == "edit" else word, patch=patch, reading_ms=2_000 if patch else None)
    site.done.append((confidence, None if task is None else word))
    return None if task is None else word
