"""Testing workflows: in memory, on a virtual clock, without a broker or a database.

    r = testing.run(refund, {"order_id": "A-1", "text": "broken", "paid": "640"})
    r.skip("2h")
    r.decide("approve", patch={"amount": "40.00"}, by="sam")
    assert r.output["payment_id"] == "pay_A-1_40.00"

What a run does here is decided by the functions that decide it in production: the same graph, the same admission of
decisions, the same transitions, the same way of calling steps. After every operation the log is replayed and compared
with the state, so a test of a workflow is also a test of its audit trail.

What is left out is what only real processes have: leases, time limits of steps, jitter (a retry here waits its full
backoff), and limits on notes. A step's own calls to the clock see the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from signoff.canonical import Json
from signoff.definition.authoring import Workflow
from signoff.definition.graph import Graph
from signoff.testing.handle import Run
from signoff.testing.people import People
from signoff.testing.simulation import Simulation
from signoff.testing.stepping import Steps

__all__ = ["START", "Run", "run"]

START = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
"""When a test's clock begins, unless it says otherwise: a Monday morning."""


def run(
    workflow: Workflow | Graph,
    input: Json,
    *,
    requester: str = "requester",
    labels: Mapping[str, str] | None = None,
    people: Mapping[str, Iterable[str]] | None = None,
    limits: Mapping[str, str] | None = None,
    away: Mapping[str, str] | None = None,
    steps: Mapping[str, Callable[..., Any]] | None = None,
    auto_retry: bool = True,
    now: datetime = START,
    run_id: UUID | None = None,
) -> Run:
    """Start a run and go on until a person has to decide or it has ended.

    - `workflow`: a Workflow, or a Graph (of a YAML file, say), whose steps are then imported by reference.
    - `requester`: who starts the run; under four eyes the same name may not decide.
    - `people`: the groups of each person by name, and then only candidates may decide. Without it whoever decides is
      taken to be in every group that is asked; a gate that asks for one person by name still wants that one.
    - `limits`: limits of authority by subject, `{"user:sam": "amount <= 500.0"}`, for gates that ask for them.
    - `away`: people who are away, and who stands in for each: for gates that ask by name or assign.
    - `steps`: functions to run instead of steps, by the steps' names. What they leave out of their annotations is
      taken from the step, and what they return has to fit the step's return type.
    - `auto_retry`: a failed try is made again at once, the clock moved on to it. False leaves the run `retrying`
      until `skip` brings the clock there.
    - `run_id`: fixes the run's id, on which the choice of a gate's `sample` depends; random without it.

    Raises InvalidInput with the path of each bad field, TooLarge, and what the workflow's steps can't be bound for;
    what a step raises fails the run, as it does in a worker.
    """
    graph = workflow.graph if isinstance(workflow, Workflow) else workflow
    definitions = workflow.steps if isinstance(workflow, Workflow) else None
    asked = People(people, requester=requester, limits=limits or {}, away=away or {})
    functions = Steps(graph, definitions, steps or {})
    simulation = Simulation(graph, functions, now=now, auto_retry=auto_retry, people=asked)
    started = simulation.start(input, requester=asked.requester.actor, labels=labels or {}, run_id=run_id)
    simulation.settle()
    return Run(simulation, asked, started)
