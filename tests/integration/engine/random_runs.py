"""Random runs on a real database: every operation is a transaction of the engine's, and is looked at afterwards."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import ClassVar
from uuid import UUID

from tests.integration.engine.world import ADMIN, PEOPLE, World
from tests.unit.transitions.random_runs import Driver, RandomRuns

from signoff.definition.graph import Graph
from signoff.errors import Conflict, StaleView
from signoff.model import HumanTask, RunState

LEASE_ENDS = "UPDATE runs SET due_at = clock_timestamp() - interval '1 second' WHERE id = %s"


class OnDatabase:
    """One run in a database, as the machine's driver. `looked` counts how often head and log were compared."""

    looked = 0

    def __init__(self, world: World, graph: Graph, amount: int) -> None:
        self.world = world
        self.run_id: UUID = world.start(graph, {"amount": amount})

    def complete(self, amount: int) -> None:
        self.world.work(self.run_id, {"amount": amount})
        self._look()

    def fail(self, *, retryable: bool) -> None:
        self.world.fail(self.run_id, retryable=retryable)
        self._look()

    def lose_worker(self) -> None:
        self.world.claim(self.run_id)
        self.world.sql(LEASE_ENDS, self.run_id)
        self.sweep()

    def decide(self, task: int, who: str, option: str, edit: int | None) -> None:
        before = self.state().seq
        patch = None if edit is None else {"amount": edit}
        self.world.decide(self.run_id, PEOPLE[who], option, task=self._task(task), patch=patch)
        self._look()
        if self.state().seq == before:
            raise Conflict("they have said the same already, and were answered as the first time")

    def decide_on_an_old_view(self, task: int, who: str) -> None:
        shown = self._task(task)
        earlier = shown.revision - 1
        try:
            self.world.decide(self.run_id, PEOPLE[who], "approve", task=shown, revision=earlier)
        except StaleView:
            return
        # Who says once more what they said of that revision is answered as then, and nothing comes of it.
        said = {(each.actor.name, each.revision, each.decision) for each in shown.decisions}
        assert (who, earlier, "approve") in said, "a decision on what is no longer shown was taken"
        assert self._task(task) == shown

    def withdraw(self, task: int, who: str) -> None:
        self.world.engine.withdraw(self._task(task).id, by=PEOPLE[who])
        self._look()

    def cancel(self) -> None:
        self.world.engine.cancel(self.run_id, reason="enough", by=ADMIN)
        self._look()

    def retry(self, name: str | None) -> None:
        self.world.engine.retry(self.run_id, from_step=name, by=ADMIN)
        self._look()

    def wait(self, minutes: int) -> None:
        self.world.later(minutes * 60)

    def sweep(self) -> None:
        self.world.engine.sweep()
        self._look()

    def state(self) -> RunState:
        return self.world.state(self.run_id)

    def _task(self, number: int) -> HumanTask:
        return list(self.state().human_tasks.values())[number]

    def _look(self) -> None:
        """Chain, replay, head, lease: after every transition."""
        type(self).looked += 1
        self.world.check(self.run_id)


class RandomRunsOnDatabase(RandomRuns):
    """The same machine as in memory. `world` is set by whoever runs it; it has `max_lost_leases` of the reference."""

    world: ClassVar[World]
    runs = 0

    def driver(self, graph: Graph, amount: int) -> Driver:
        type(self).runs += 1
        # A name of its own: what is drawn a second time is the version that it was, and no longer the newest.
        self.tested_run = OnDatabase(self.world, replace(graph, workflow=f"{graph.workflow}_{self.runs}"), amount)
        return self.tested_run

    def teardown(self) -> None:
        """It is over, and so is most of what the next one's sweeps would have to see to."""
        if hasattr(self, "tested_run"):
            with contextlib.suppress(Conflict):
                self.world.engine.cancel(self.tested_run.run_id, reason="over", by=ADMIN)
