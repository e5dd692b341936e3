"""Everybody and everything of the matrix: a principal for each role, kind and part in a matter, and matters in every
state, made by the engine on a real database and put back after each call that changed one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from flask import Flask
from tests.unit.transitions.graphs import CANCELED, gate, graph, pay

from signoff.engine import DecisionRequest, Engine, Failure, build_engine
from signoff.identity import ROLES, Principal
from signoff.model import SYSTEM
from signoff.passwords import hash_password
from signoff.settings import Settings
from signoff.store.identity import Kind, create_api_key, create_principal, update_principal
from signoff.store.sessions import start_session
from signoff_api.app import create_app

NO_ROLE = "none"
ALL_ROLES = (*ROLES, NO_ROLE)
KINDS: tuple[Kind, ...] = ("user", "service", "agent")

PERSONS_PARTS = ("requester", "asked requester", "asked by name", "asked by group", "assignee", "decided", "stranger")
"""What somebody has to do with a run. The asked requester is also in the group of the candidates; the assignee was
taken out of it after the human task was assigned to them; who decided is still in it."""
PROGRAMS_PARTS = ("requester", "asked requester", "asked by name", "asked by group", "stranger")
"""Nothing is ever assigned to a program, and it decides nothing."""
STATES = ("open", "pending", "completed", "canceled", "timed out", "running", "failed")
"""The first five are states of the human task; in the last two it is completed and the run is at its step."""

GROUP = "deciders"
PASSWORD = "correct horse battery staple"
FILLER = "filler"
"""A candidate who gives the votes that are nobody's part."""
DEPUTY = "deputy"
"""A candidate to whom things can be assigned."""

_TABLES = ("runs", "events", "human_tasks", "decisions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One caller; `principal` is None for nobody, who has neither key nor session."""

    role: str
    kind: str
    part: str
    principal: Principal | None
    key: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


NOBODY = Person(role=NO_ROLE, kind="nobody", part="stranger", principal=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """A run with its human task. `canary` is in the payload and the title and nowhere else."""

    run_id: UUID
    task_id: UUID
    state: str
    payload_sha256: str
    canary: str
    seq: int


@dataclass
class Cast:
    """The app with all of them."""

    app: Flask
    engine: Engine
    people: dict[tuple[str, str, str], Person] = field(default_factory=dict)
    matters: dict[tuple[str, str], Matter] = field(default_factory=dict)
    others: dict[str, Principal] = field(default_factory=dict)
    callback: tuple[str, str] | None = field(default=None, repr=False)

    def matter(self, person: Person, state: str) -> Matter:
        """The matter of this state in which this caller has their part."""
        return self.matters[_whose(person), state]

    def person(self, role: str, kind: str, part: str) -> Person:
        return self.people[role, kind, part]

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement behind the engine's back."""
        with self.engine.database.transaction() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def has_changed(self, matter: Matter) -> bool:
        """Whether anything was recorded."""
        return self.sql("SELECT seq FROM runs WHERE id = %s", matter.run_id) != [(matter.seq,)]

    def put_back(self, matter: Matter) -> None:
        """Make it what it was."""
        own = {table: "id" if table == "runs" else "run_id" for table in _TABLES}
        with self.engine.database.transaction() as cursor:
            for table in reversed(_TABLES):
                cursor.execute(f"DELETE FROM {table} WHERE {own[table]} = %s", (matter.run_id,))
            for table in _TABLES:
                cursor.execute(
                    f"INSERT INTO {table} SELECT * FROM pristine.{table} WHERE {own[table]} = %s", (matter.run_id,)
                )

    def keep_as_they_are(self) -> None:
        """Note what every matter is like now."""
        self.sql("CREATE SCHEMA pristine")
        for table in _TABLES:
            self.sql(f"CREATE TABLE pristine.{table} AS TABLE {table}")
        self.sql("CREATE INDEX ON pristine.events (run_id)")
        self.sql("ANALYZE")

    def differences(self) -> dict[str, int]:
        """How many rows are no longer, or were not, what they were noted as; runs that were started since not seen."""
        found = {}
        for table in _TABLES:
            own = "id" if table == "runs" else "run_id"
            ours = f"SELECT t::text FROM {table} t WHERE {own} IN (SELECT id FROM pristine.runs)"
            kept = f"SELECT t::text FROM pristine.{table} t"
            ((number,),) = self.sql(
                f"SELECT count(*) FROM (({ours} EXCEPT {kept}) UNION ALL ({kept} EXCEPT {ours})) AS different"
            )
            found[table] = number
        return found


def _whose(person: Person) -> str:
    """Matters are shared by those whose part in them needs no matter of their own."""
    if person.part in ("asked by name", "asked by group", "stranger"):
        return "shared"
    return f"{person.role} {person.kind} {person.part}"


@contextmanager
def open_cast(database_url: str, broker_url: str) -> Iterator[Cast]:
    """The app, its people and their matters."""
    settings = Settings(
        database_url=database_url,  # type: ignore[arg-type]  # pydantic makes a secret of it
        broker_url=broker_url,  # type: ignore[arg-type]
        # Nothing may come due by itself while the matrix is gone through.
        republish_seconds=600,
        republish_max_seconds=600,
        lease_seconds=3_600,
    )
    engine = build_engine(settings, pool_size=4)
    cast = Cast(app=create_app(engine, settings), engine=engine)
    try:
        for name in (FILLER, DEPUTY):
            cast.others[name] = create_principal(engine.database, name=name, kind="user", groups=(GROUP,))
        cast.others["starter"] = create_principal(engine.database, name="starter", kind="service", roles=("requester",))
        _employ(cast)
        _register(cast)
        _begin(cast)
        yield cast
    finally:
        engine.close()


def _employ(cast: Cast) -> None:
    database = cast.engine.database
    for kind in KINDS:
        for role in ALL_ROLES:
            for part in PERSONS_PARTS if kind == "user" else PROGRAMS_PARTS:
                asked = part in ("asked requester", "asked by group", "assignee", "decided")
                principal = create_principal(
                    database,
                    name=f"{role}-{kind}-{part.replace(' ', '-')}",
                    kind=kind,
                    groups=(GROUP,) if asked else (),
                    roles=() if role == NO_ROLE else (role,),
                )
                cast.people[role, kind, part] = Person(
                    role=role,
                    kind=kind,
                    part=part,
                    principal=principal,
                    key=create_api_key(database, principal.name),
                    # A session of a program can't be had by signing in; should one be there, it must be worth nothing.
                    session=start_session(database, principal, hours=1, user_agent="test", key=None),
                )

    # One hash for all of them: each costs a third of a second.
    cast.sql(
        "INSERT INTO passwords (principal_id, hash, changed_at)"
        " SELECT id, %s, now() FROM principals WHERE name LIKE '%%-stranger'",
        hash_password(PASSWORD),
    )


def _register(cast: Cast) -> None:
    named = [f"user:{role}-{kind}-asked-by-name" for role in ALL_ROLES for kind in KINDS]
    common: dict[str, Any] = {"reviewers": (GROUP, *named), "title": "Decide {canary}", "bulk": True}
    for made in (
        graph(gate("ok", "pay", approvals=2, reject_after=2, **common), pay(), name="steady"),
        graph(gate("ok", "pay", grace_ms=3_600_000, **common), pay(), name="graceful"),
        graph(
            gate("ok", "pay", approvals=2, reject_after=2, due=1, on_timeout=CANCELED, **common), pay(), name="hasty"
        ),
    ):
        cast.engine.register(made, by=SYSTEM)


def _begin(cast: Cast) -> None:
    engine = cast.engine
    owners = ["shared", *(_whose(person) for person in cast.people.values() if _whose(person) != "shared")]
    by_owner = {_whose(person): person for person in cast.people.values()}
    for owner in owners:
        person = by_owner[owner]
        for state in STATES:
            number = len(cast.matters)
            cast.matters[owner, state] = _made(cast, person if owner != "shared" else NOBODY, state, number)
    engine.sweep()  # what is hasty times out
    for person in cast.people.values():
        if person.part == "assignee":
            assert person.principal is not None
            update_principal(engine.database, person.principal.name, groups=())
    _look(cast)
    cast.keep_as_they_are()


def _made(cast: Cast, person: Person, state: str, number: int) -> Matter:
    """A run of this state in which `person` has their part."""
    engine, canary = cast.engine, f"canary{number:04d}"
    workflow = {"pending": "graceful", "timed out": "hasty"}.get(state, "steady")
    requester = cast.others["starter"]
    if person.part in ("requester", "asked requester") and person.principal is not None:
        # Which roles one needs to start a run is another row of the matrix.
        requester = Principal(
            id=person.principal.id, name=person.principal.name, kind=person.principal.kind, roles=frozenset({"admin"})
        )
    started = engine.start(
        workflow=workflow, input={"canary": canary}, requester=requester, labels={"matter": str(number)}
    )
    ((task_id, sha256),) = cast.sql("SELECT id, payload_sha256 FROM human_tasks WHERE run_id = %s", started.run_id)
    filler = cast.others[FILLER]
    first = filler
    if person.part == "assignee" and person.principal is not None:
        engine.assign(task_id, assignee=person.principal.name, by=filler)
    if person.part == "decided" and person.principal is not None:
        first = person.principal
    said = DecisionRequest(decision="approve", payload_sha256=sha256)
    if person.part == "decided" or state in ("pending", "completed", "running", "failed"):
        engine.decide(task_id, said, by=first)
    if state in ("completed", "running", "failed"):
        engine.decide(task_id, said, by=filler if first is not filler else cast.others[DEPUTY])
    if state == "canceled":
        engine.cancel(started.run_id, reason="no longer needed", by=requester)
    if state in ("running", "failed"):
        ((epoch,),) = cast.sql("SELECT epoch FROM runs WHERE id = %s", started.run_id)
        claimed = engine.claim_run(started.run_id, epoch=epoch, worker="w1")
        assert claimed is not None
        if state == "failed":
            engine.fail(claimed, Failure(code="step_raised", message="it broke", trace="Traceback", retryable=False))
    return Matter(run_id=started.run_id, task_id=task_id, state=state, payload_sha256=sha256, canary=canary, seq=0)


_EXPECTED = {
    "open": ("open", None, "waiting"),
    "pending": ("open", "approve", "waiting"),
    "completed": ("completed", None, "queued"),
    "canceled": ("canceled", None, "canceled"),
    "timed out": ("timed_out", None, "canceled"),
    "running": ("completed", None, "running"),
    "failed": ("completed", None, "failed"),
}


def _look(cast: Cast) -> None:
    """See that every matter is what it is meant to be, and where its log stands."""
    rows = cast.sql(
        "SELECT r.id, r.seq, t.state, t.pending, r.status FROM runs r JOIN human_tasks t ON t.run_id = r.id"
    )
    found = {row[0]: row for row in rows}
    for place, matter in cast.matters.items():
        _, seq, *is_now = found[matter.run_id]
        assert tuple(is_now) == _EXPECTED[matter.state], (place, is_now)
        cast.matters[place] = replace(matter, seq=seq)
