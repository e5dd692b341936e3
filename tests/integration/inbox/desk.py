"""The reviewers' pages on a real database: workflows of every kind, and people with browsers that run no script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from tests.integration.inbox.html import Node, parse, sent_by
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step
from werkzeug.test import TestResponse

from signoff.canonical import Json
from signoff.definition.graph import Goto, Graph
from signoff.engine import DecisionRequest, Engine, build_engine
from signoff.identity import Principal
from signoff.model import SYSTEM, Event
from signoff.settings import Settings
from signoff.store.identity import Kind, create_api_key, create_principal
from signoff.store.runs import load_events
from signoff.store.sessions import start_session
from signoff_api.app import create_app

HOUR = 3_600_000
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string"},
        "amount": {"type": "string", "format": "decimal"},
        "rate": {"type": "number"},
        "count": {"type": "integer", "maximum": 100},
        "urgent": {"type": "boolean"},
        "color": {"type": "string", "enum": ["red", "green"]},
        "nick": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "ship": {"type": "object", "properties": {"city": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "bonus": {"type": "integer"},
        "reply": {"type": "string", "contentMediaType": "text/markdown"},
        "plain": {"type": "string"},
        "confidence": {"type": "number"},
    },
    "required": ["amount"],
}
FORM = {
    "type": "object",
    "properties": {"checked": {"type": "boolean"}, "remark": {"type": "string", "maxLength": 20}},
    "required": ["checked"],
}
EDITABLE = ("amount", "rate", "count", "urgent", "color", "nick", "ship", "tags", "bonus")
REFUND = graph(
    step("draft", "approve-refund", takes=("feedback",)),
    gate(
        "approve-refund",
        "pay",
        title="Refund {amount} for {order_id}",
        review_if="double(amount) > 100.0",
        options=STANDARD,
        changes_to="draft",
        editable=EDITABLE,
        recommend="reply",
        score="confidence",
        consequences={"approve": "Pays {amount} now.", "reject": "Nothing is paid."},
        require_note=("reject",),
        due=4 * HOUR,
        payload_schema=SCHEMA,
    ),
    pay(),
    name="refund",
)


def _small(name: str, **options: Any) -> Graph:
    values: dict[str, Any] = {"title": "Small {amount}", "editable": ("amount",), "payload_schema": SCHEMA}
    return graph(gate("ok", "pay", **(values | options)), pay(), name=name)


FLOWS = (
    REFUND,
    _small("plain"),
    _small("bulk", bulk=True, consequences={"approve": "Pays {amount}."}, title="Bulk {amount}"),
    _small("bulk-other", bulk=True),
    _small("grace", grace_ms=600_000),
    _small("pair", approvals=2),
    _small("blind", approvals=2, blind=True),
    _small("form", form=FORM),
    _small("later", not_before_ms=HOUR),
    _small("noted", require_note=("approve", "reject"), bulk=True),
    _small("to-sam", reviewers=("user:sam",)),
    _small("markdown", title="Read {reply}", editable=("plain",)),
    graph(
        step("draft", "look"),
        gate("look", "send", mode="after", routes={"reject": Goto(node="undo")}, payload_schema=SCHEMA),
        step("send"),
        step("undo", takes=("draft", "input", "feedback")),
        name="beside",
    ),
)
PEOPLE: dict[str, tuple[Kind, tuple[str, ...], tuple[str, ...]]] = {
    "admin": ("user", (), ("admin",)),
    "auditor": ("user", (), ("auditor",)),
    "portal": ("service", (), ("requester",)),
    "robot": ("agent", ("leads",), ("reviewer", "admin")),
    "ana": ("user", ("leads",), ("reviewer", "requester")),
    "sam": ("user", ("leads",), ("reviewer",)),
    "max": ("user", ("managers",), ("reviewer",)),
    "nobody": ("user", (), ()),
}


@dataclass
class Desk:
    """The app on one database."""

    app: Flask
    engine: Engine
    settings: Settings
    people: dict[str, Principal] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def browser(self) -> Browser:
        return Browser(self, self.app.test_client())

    def as_(self, name: str) -> Browser:
        """This person's browser, signed in."""
        token = start_session(self.engine.database, self.people[name], hours=1, user_agent="test", key=None)
        made = self.browser()
        made.client.set_cookie("signoff_session", token, domain="localhost", secure=True)
        return made

    def start(self, workflow: str, value: Json, *, by: str = "portal") -> UUID:
        """A run, and its human task once a draft has been given where one is needed."""
        started = self.engine.start(workflow=workflow, input=value, requester=self.people[by])
        if workflow in ("refund", "beside"):
            self.work(started.run_id, value)
        return self.task(started.run_id)

    def work(self, run_id: UUID, output: Json) -> None:
        """The run's step gives `output`."""
        ((epoch,),) = self.sql("SELECT epoch FROM runs WHERE id = %s", run_id)
        claimed = self.engine.claim_run(run_id, epoch=epoch, worker="w1")
        assert claimed is not None
        self.engine.complete(claimed, output, worker="w1", go_on=False)

    def redraft(self, task: UUID, output: Json, *, by: str = "sam", note: str = "again") -> None:
        """Somebody asks for changes, and the step drafts again."""
        self.decide(task, by, "request_changes", note=note)
        self.work(self.run_of(task), output)

    def task(self, run_id: UUID) -> UUID:
        ((found,),) = self.sql("SELECT id FROM human_tasks WHERE run_id = %s", run_id)
        return UUID(str(found))

    def run_of(self, task: UUID) -> UUID:
        ((found,),) = self.sql("SELECT run_id FROM human_tasks WHERE id = %s", task)
        return UUID(str(found))

    def decide(self, task: UUID, by: str, decision: str, **said: Any) -> None:
        ((revision,),) = self.sql("SELECT revision FROM human_tasks WHERE id = %s", task)
        self.engine.decide(task, DecisionRequest(decision=decision, revision=revision, **said), by=self.people[by])

    def said(self, task: UUID) -> list[tuple[Any, ...]]:
        """Decisions on it: option, note, reason, patch, surface, reading_ms."""
        return self.sql(
            "SELECT decision, note, reason, patch, surface, reading_ms FROM decisions WHERE human_task_id = %s"
            " ORDER BY seq",
            task,
        )

    def row(self, task: UUID) -> tuple[Any, ...]:
        """state, outcome, revision, assignee, pending"""
        (found,) = self.sql("SELECT state, outcome, revision, assignee, pending FROM human_tasks WHERE id = %s", task)
        return found

    def log(self, task: UUID) -> list[Event]:
        with self.engine.database.autocommit() as cursor:
            return [stored.event for stored in load_events(cursor, self.run_of(task))]

    def everything(self) -> list[tuple[Any, ...]]:
        """A digest of all that is stored, but for when sessions were last used."""
        tables = self.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            " AND table_name NOT IN ('sessions', 'alembic_version') ORDER BY 1"
        )
        return [
            (
                table,
                *self.sql(
                    f"SELECT count(*), md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t"
                ),
            )
            for (table,) in tables
        ]

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement behind the engine's back."""
        with self.engine.database.transaction() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Browser:
    """Somebody's browser; `page` is what it shows, `path` where it is."""

    desk: Desk
    client: FlaskClient
    path: str = "/"
    status: int = 0
    response: TestResponse | None = None
    page: Node = field(default_factory=lambda: Node("#page"))

    def send(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        """One request, without following where it leads."""
        return self.client.open(path, method=method, base_url="https://localhost", headers=headers or {}, **options)

    def get(self, path: str, status: int = 200) -> Node:
        """Open a page, and follow where it leads."""
        return self._show(self.send("GET", path), path, status)

    def press(self, label: str | Node, status: int = 200, /, **typed: str | None) -> Node:
        """Type into the form of this button and press it. `__` stands for `.`; None sends no such field."""
        button = self.button(label) if isinstance(label, str) else label
        method, action, fields = sent_by(self.page, button)
        assert method == "POST"
        values = {name.replace("__", "."): value for name, value in typed.items()}
        for name in values:
            assert any(name == each for each, _ in fields) or name in ("reason", "acknowledged"), (
                f"there is no field {name!r}"
            )
        data: dict[str, list[str]] = {}
        for name, value in fields:
            if name not in values:
                data.setdefault(name, []).append(value)
        data |= {name: [value] for name, value in values.items() if value is not None}
        return self._show(self.send("POST", action, data=data), action, status)

    def button(self, label: str) -> Node:
        """The button that begins so."""
        found = [node for node in self.page.find("button") if node.text.startswith(label)]
        assert len(found) == 1, f"{len(found)} buttons begin with {label!r}: {self.words[:1_500]}"
        return found[0]

    @property
    def words(self) -> str:
        """What is read on the page."""
        return self.page.one("main").text

    @property
    def csrf(self) -> str:
        return self.page.find("input", name="csrf")[0].value

    def post(self, path: str, status: int = 200, **fields: Any) -> Node:
        """Send a form that this browser has not been shown, with the token of its session."""
        if not self.page.find("input", name="csrf"):
            self.get("/inbox")
        return self._show(self.send("POST", path, data={"csrf": self.csrf, **fields}), path, status)

    def _show(self, response: TestResponse, path: str, status: int) -> Node:
        self.path = path
        for _ in range(5):
            if response.status_code not in (302, 303):
                break
            self.path = urljoin(f"https://localhost{self.path}", response.headers["Location"]).removeprefix(
                "https://localhost"
            )
            response = self.send("GET", self.path)
        self.response, self.status = response, response.status_code
        assert self.status == status, f"{self.path}: {self.status}\n{response.text[-3_000:]}"
        self.page = parse(response.text) if response.mimetype == "text/html" else Node("#page")
        return self.page


@contextmanager
def open_desk(database_url: str, broker_url: str, **options: Any) -> Iterator[Desk]:
    """The app with everybody of PEOPLE and the workflows above."""
    settings = Settings(database_url=database_url, broker_url=broker_url, **options)  # type: ignore[arg-type]
    engine = build_engine(settings, pool_size=8)
    desk = Desk(app=create_app(engine, settings), engine=engine, settings=settings)
    for name, (kind, groups, roles) in PEOPLE.items():
        desk.people[name] = create_principal(engine.database, name=name, kind=kind, groups=groups, roles=roles)
        desk.keys[name] = create_api_key(engine.database, name)
    for made in FLOWS:
        engine.register(made, by=SYSTEM)
    try:
        yield desk
    finally:
        engine.close()
