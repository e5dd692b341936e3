"""The judge: what stands in the database and in the receiver's books, against what the seed says and clients were told.

Expected is only what the plan and the clients' notes say. Our own tables are asked what they have, and never believed:
every log is replayed to its head and every chain recomputed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.load import Load
from tests.chaos.plant import Plant
from tests.chaos.workload import Item

CHECK_INVARIANTS = (Path(__file__).parent / "check_invariants.sql").read_text()
SHOWN = 5


@dataclass(kw_only=True)
class Judgement:
    """What was found, in sentences; all empty at best."""

    lost: list[str] = field(default_factory=list)
    """What was promised and is not there: a decision, a run's end, an effect."""
    doubled: list[str] = field(default_factory=list)
    """What is there more than once."""
    wrong: list[str] = field(default_factory=list)
    """Everything else that may not be: effects that nobody approved, broken invariants, answers of 500."""

    @property
    def ok(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        parts = []
        for name, found in (("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong)):
            parts += [f"{name}: {each}" for each in found[:SHOWN]]
            parts += [f"{name}: and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return "\n".join(parts)


def judge(plant: Plant, loads: Sequence[Load]) -> Judgement:
    """Judge everything that these loads have done to a plant; all that it ever had."""
    found = Judgement()
    check_database(plant, found)
    for load in loads:
        check_runs(plant, load, found)
        check_told(plant, load, found)
        found.wrong += [*load.wrong, *load.answers.bad]
    check_effects(plant, {item.number: item for load in loads for item in load.items.values()}, found)
    return found


def check_database(plant: Plant, found: Judgement) -> None:
    """Invariants, chains and replays: what needs no plan. For scenarios whose load is another, too."""
    found.wrong += [
        f"{invariant}: run {run_id}, {detail}" for invariant, run_id, detail in plant.rows(CHECK_INVARIANTS)
    ]
    engine = plant.engine()
    try:
        verified = engine.verify()
    finally:
        engine.close()
    if not verified.ok:
        found.wrong.append(f"the log does not verify: {verified.first_bad}")


def check_runs(plant: Plant, load: Load, found: Judgement) -> None:
    """One run an item, ended as the plan has it."""
    numbers = [str(number) for number in load.items]
    rows = plant.rows(
        "SELECT labels ->> 'item', id::text, status, outcome, error::text FROM runs WHERE labels ->> 'item' = ANY(%s)",
        numbers,
    )
    runs: dict[int, list[tuple[str, str, str | None, str | None]]] = defaultdict(list)
    for number, *run in rows:
        runs[int(number)].append((run[0], run[1], run[2], run[3]))
    for number, item in load.items.items():
        if not runs[number]:
            found.lost.append(f"item {number} has no run")
        elif len(runs[number]) > 1:
            found.doubled.append(f"item {number} has {len(runs[number])} runs")
        for run_id, status, outcome, error in runs[number]:
            if status not in ("completed", "canceled", "failed"):
                found.lost.append(f"run {run_id} of item {number} ({item.wish}) is {status} and does not end")
            elif (status, outcome) != item.end:
                found.wrong.append(
                    f"run {run_id} of item {number} ended as {status} {outcome}, not {item.end}: {error}"
                )


def check_told(plant: Plant, load: Load, found: Judgement) -> None:
    """Whatever a client was told stands, stands."""
    runs = {
        row[0]
        for row in plant.rows("SELECT id::text FROM runs WHERE id = ANY(%s::uuid[])", list(load.started.values()))
    }
    for number, run_id in load.started.items():
        if run_id not in runs:
            found.lost.append(f"run {run_id} of item {number} was answered 2xx and is gone")
    told = {said.human_task_id: said for said in load.said.values()}
    rows = plant.rows(
        "SELECT human_task_id::text, id::text, decision FROM decisions WHERE human_task_id = ANY(%s::uuid[])",
        list(told),
    )
    stored: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for human_task_id, decision_id, decision in rows:
        stored[human_task_id].append((decision_id, decision))
    for human_task_id, said in told.items():
        if (said.decision_id, said.decision) not in stored[human_task_id]:
            found.lost.append(f"decision {said.decision_id} on item {said.item} was answered 2xx and is gone")
        if len(stored[human_task_id]) > 1:
            found.doubled.append(f"item {said.item} has {len(stored[human_task_id])} decisions of one person")


def check_effects(plant: Plant, items: dict[int, Item], found: Judgement) -> None:
    """The world outside: each approved amount paid once, and nothing else, ever."""
    effects = plant.ledger.effects()
    times = Counter(int(effect.body["item"]) for effect in effects)
    for effect in effects:
        number, amount = int(effect.body["item"]), effect.body["amount"]
        item = items.get(number)
        if item is None or item.paid is None:
            found.wrong.append(f"item {number} was paid {amount}, which nobody approved")
        elif amount != item.paid:
            found.wrong.append(f"item {number} was paid {amount}; approved were {item.paid}")
    found.doubled += [f"item {number} was paid {count} times" for number, count in times.items() if count > 1]
    found.lost += [
        f"item {number} was approved and never paid"
        for number, item in items.items()
        if item.paid and not times[number]
    ]
    found.wrong += [f"something else was asked under key {key} later" for key in plant.ledger.disagreeing()]
