"""The app with its pages, runs in every state, and people who look at them through a browser of the simplest kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from uuid import UUID

from flask import Flask
from tests.unit.transitions.graphs import STANDARD, TWICE, gate, graph, pay, step
from werkzeug.test import TestResponse

from signoff.canonical import Json
from signoff.definition.graph import End, Goto, Graph
from signoff.engine import Claimed, Decided, DecisionRequest, Engine, Failure, build_engine
from signoff.identity import Principal
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.identity import Kind, create_principal
from signoff.store.sessions import start_session
from signoff_api.app import create_app

HOUR = 3_600_000

REFUND = graph(
    step("draft", "approve-refund", takes=("feedback",), retry=TWICE),
    gate(
        "approve-refund",
        "pay",
        options=(*STANDARD, "escalate"),
        routes={"approve": Goto(node="pay"), "reject": Goto(node="apologize"), "escalate": End(status="failed")},
        changes_to="draft",
        review_if="amount > 100.0",
        editable=("amount",),
        due=4 * HOUR,
        on_timeout=End(status="canceled"),
    ),
    pay(following="tell"),
    step("tell"),
    step("apologize", "note"),
    step("note"),
    name="refund",
)
BLIND = graph(gate("ok", "pay", approvals=2, blind=True, editable=("amount",)), pay(), name="blind")
BESIDE = graph(
    step("draft", "look"),
    gate("look", "send", mode="after", routes={"reject": Goto(node="undo")}, editable=("amount",)),
    step("send"),
    step("undo", takes=("draft", "input", "feedback")),
    name="beside",
)
PEOPLE: dict[str, tuple[Kind, tuple[str, ...], tuple[str, ...]]] = {
    "admin": ("user", (), ("admin",)),
    "operator": ("user", (), ("operator",)),
    "auditor": ("user", (), ("auditor",)),
    "lead-auditor": ("user", ("leads",), ("auditor",)),
    "portal": ("service", (), ("requester",)),
    "olga": ("user", (), ("requester",)),
    "rita": ("user", (), ("requester",)),
    "ana": ("user", ("leads",), ("reviewer",)),
    "sam": ("user", ("leads",), ("reviewer",)),
    "zoe": ("user", ("others",), ("reviewer",)),
    "nobody": ("user", (), ()),
}


@dataclass
class Site:
    """The app on one database."""

    app: Flask
    engine: Engine
    url: str
    people: dict[str, Principal] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def as_(self, name: str) -> Browser:
        """This person's browser, signed in."""
        if name not in self.tokens:
            self.tokens[name] = start_session(
                self.engine.database, self.people[name], hours=1, user_agent="test", key=None
            )
        return Browser(site=self, token=self.tokens[name])

    def register(self, made: Graph) -> None:
        self.engine.register(made, by=SYSTEM)

    def start(self, workflow: str, value: Json, *, by: str = "portal", **labels: str) -> UUID:
        started = self.engine.start(workflow=workflow, input=value, requester=self.people[by], labels=labels)
        return started.run_id

    def claim(self, run_id: UUID) -> Claimed:
        """Take the run as a worker would on the newest message."""
        ((epoch,),) = self.sql("SELECT epoch FROM runs WHERE id = %s", run_id)
        claimed = self.engine.claim_run(run_id, epoch=epoch, worker="w1")
        assert claimed is not None
        return claimed

    def work(self, run_id: UUID, output: Json) -> None:
        """The run's step gives `output`."""
        self.engine.complete(self.claim(run_id), output, worker="w1", go_on=False)

    def fail(self, run_id: UUID, *, message: str = "it broke", retryable: bool = False) -> None:
        """The run's step fails."""
        trace = f"Traceback (most recent call last):\nRuntimeError: {message}"
        failure = Failure(code="step_raised", message=message, trace=trace, retryable=retryable)
        self.engine.fail(self.claim(run_id), failure)

    def task(self, run_id: UUID) -> UUID:
        """The run's newest human task."""
        rows = self.sql(
            "SELECT id FROM human_tasks WHERE run_id = %s ORDER BY created_at DESC, id DESC LIMIT 1", run_id
        )
        found: UUID = rows[0][0]
        return found

    def decide(self, run_id: UUID, by: str, decision: str, **said: Any) -> Decided:
        task = self.task(run_id)
        ((revision,),) = self.sql("SELECT revision FROM human_tasks WHERE id = %s", task)
        request = DecisionRequest(decision=decision, revision=revision, **said)
        return self.engine.decide(task, request, by=self.people[by])

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement behind the engine's back."""
        with self.engine.database.transaction() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Browser:
    """Somebody's browser, without scripts."""

    site: Site
    token: str | None

    def get(self, path: str, status: int = 200) -> str:
        """The page at this path."""
        response = self.send("GET", path)
        assert response.status_code == status, f"{path}: {response.status_code}\n{words(response.text)[:2_000]}"
        return response.text

    def post(self, path: str, status: int = 303, **form: str) -> TestResponse:
        """Send a form of a page that this browser has seen."""
        page = self.get("/runs")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
        assert found is not None
        response = self.send("POST", path, data={"csrf": found[1], **form})
        assert response.status_code == status, f"{response.status_code}\n{words(response.text)[:2_000]}"
        return response

    def send(self, method: str, path: str, **options: Any) -> TestResponse:
        client = self.site.app.test_client()
        if self.token is not None:
            client.set_cookie("signoff_session", self.token)
        return client.open(path, method=method, **options)


@contextmanager
def open_site(database_url: str, broker_url: str) -> Iterator[Site]:
    """The app with everybody of PEOPLE and the workflows above."""
    settings = Settings(database_url=database_url, broker_url=broker_url)
    engine = build_engine(settings, pool_size=8)
    site = Site(app=create_app(engine, settings), engine=engine, url=database_url)
    for name, (kind, groups, roles) in PEOPLE.items():
        site.people[name] = create_principal(engine.database, name=name, kind=kind, groups=groups, roles=roles)
    for made in (REFUND, BLIND, BESIDE):
        site.register(made)
    try:
        yield site
    finally:
        engine.close()


def words(page: str) -> str:
    """The text of a page on one line, as somebody reads it."""
    body = page.partition("<main")[2].partition(">")[2].partition("</main>")[0] or page
    without_script = re.sub(r"<(script|style|title)\b.*?</\1>", " ", body, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", without_script)).split())


def full_story(site: Site) -> UUID:
    """A refund with all there is: a retry, two drafts, a comment, an edit, numbers and texts of every kind."""
    run_id = site.start("refund", {"order": 'naïve ﬁ 😀 \ue000 " \\ \u2028', "n": 1e21}, by="rita")
    site.work(run_id, {"amount": 640.5, "rate": 1e-7, "zero": -0.0})
    site.engine.claim(site.task(run_id), by=site.people["ana"])
    site.engine.release(site.task(run_id), by=site.people["ana"])
    site.engine.assign(site.task(run_id), assignee="sam", by=site.people["ana"])
    site.engine.comment(site.task(run_id), text="¿?", by=site.people["sam"])
    site.decide(run_id, "ana", "request_changes", note="too much", reason="wrong_amount")
    site.work(run_id, {"amount": 300.0, "rate": 0.1})
    site.decide(run_id, "sam", "approve", patch={"amount": 250.25}, surface="inbox", reading_ms=4_000)
    site.fail(run_id, message="the bank is closed")
    site.engine.retry(run_id, by=site.people["rita"])
    site.work(run_id, {"paid": True})
    site.work(run_id, {"told": 1})
    return run_id
