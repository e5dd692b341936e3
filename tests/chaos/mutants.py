"""Guards that are taken out, to see that the suite notices: `python -m tests.chaos.mutants [--promise N,M] [NAME…]`.

Each mutant is one piece of one module, replaced in every process of the plant by `mutated.py`. The scenarios of its
promise are played with it and have to fail; a mutant that passes is missed, and the command ends with 1. No mutant is
in the product: there is no switch for one.

This module imports nothing of the product: it is loaded before what it mutates.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

SEED = 20_250
"""The same for all, so that a mutant that is missed is missed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One guard out. `tier` is the smallest at which it has to be caught."""

    name: str
    promise: int
    what: str
    module: str
    old: str
    new: str
    tier: str = "slice"

    def applied(self, source: str) -> str:
        """The module without its guard. Raises AssertionError when the piece is not there, or more than once."""
        assert source.count(self.old) == 1, f"{self.module} has {source.count(self.old)} times {self.old!r}"
        return source.replace(self.old, self.new)


_ALL = (
    Mutant(
        name="expired-leases-are-left",
        promise=1,
        what="the sweep takes no run from a worker that is gone",
        module="signoff.store.leases",
        old="""WHERE due_at <= (SELECT clock_timestamp()) AND status = 'running'\"""",
        new="""WHERE due_at <= (SELECT clock_timestamp()) AND status = 'nobody'\"""",
    ),
    Mutant(
        name="a-start-asked-again-is-another-run",
        promise=1,
        what="the key of a request whose answer was lost is not looked up",
        module="signoff.engine.runs",
        old="            if earlier is not None:\n                started = ",
        new="            if earlier is False:\n                started = ",
    ),
    Mutant(
        name="lost-messages-stay-lost",
        promise=4,
        what="the sweep sends no message again",
        module="signoff.store.leases",
        old="WHERE due_at <= (SELECT clock_timestamp()) AND status IN ('queued', 'retrying')",
        new="WHERE due_at <= (SELECT clock_timestamp()) AND status IN ('retrying')",
    ),
    Mutant(
        name="each-try-has-its-own-key",
        promise=3,
        what="a step that is repeated tells the receiver another key",
        module="signoff.engine.execution",
        old="{self.state.outputs.get(self.step.name, 0)}",
        new="{self.epoch}",
    ),
    Mutant(
        name="a-crash-is-500",
        promise=5,
        what="a database that goes away is an error of ours instead of a 503",
        module="signoff.store.database",
        old="    psycopg.OperationalError,\n    # After",
        new="    # After",
    ),
    Mutant(
        name="commits-do-not-wait-for-the-disk",
        promise=5,
        what="a decision is answered before it is on disk",
        module="signoff.store.database",
        old=""" -c timezone=UTC -c jit=off\"""",
        new=""" -c timezone=UTC -c jit=off -c synchronous_commit=off\"""",
        tier="ci",
    ),
    Mutant(
        name="the-epoch-is-not-asked",
        promise=7,
        what="what a worker says of a run is taken as long as anybody runs it",
        module="signoff.engine.execution",
        old="RunStatus.RUNNING or locked.row.epoch != claimed.epoch:",
        new="RunStatus.RUNNING:",
        tier="ci",
    ),
    Mutant(
        name="given-back-by-whoever-had-it",
        promise=7,
        what="a worker that comes late gives back a run that is another's",
        module="signoff.store.leases",
        old="WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'running'\nRETURNING queue",
        new="WHERE id = %(id)s AND status = 'running'\nRETURNING queue",
        tier="ci",
    ),
    Mutant(
        name="a-gate-is-read-and-then-written",
        promise=2,
        what="whoever decides reads the run without locking it",
        module="signoff.store.runs",
        old="""FOR NO KEY UPDATE{skip}\"""",
        new="""\"""",
        tier="ci",
    ),
    Mutant(
        name="who-is-late-decides-as-well",
        promise=2,
        what="a decision on a human task that is over is recorded",
        module="signoff.transitions.decisions",
        old="    if task.state is not TaskState.OPEN:\n",
        new="    if task.state is None:\n",
        tier="ci",
    ),
    Mutant(
        name="a-run-that-is-over-is-canceled",
        promise=2,
        what="a run that has ended by a rejection ends once more",
        module="signoff.transitions.runs",
        old="    if fold.state.status.finished:\n",
        new="    if fold.state.status is None:\n",
        tier="ci",
    ),
    Mutant(
        name="keys-are-not-looked-up",
        promise=15,
        what="each request under a key is the first one",
        module="signoff.store.idempotency",
        old="    if cursor.fetchone() is not None:\n        return None\n",
        new="    return None\n",
    ),
    Mutant(
        name="a-key-stands-for-any-body",
        promise=15,
        what="another body under a key is given the first one's answer",
        module="signoff.store.idempotency",
        old="if row is None or row[0] != key.fingerprint:",
        new="if row is None:",
    ),
    Mutant(
        name="a-key-does-not-keep-its-run",
        promise=15,
        what="what a start has made is not kept under its key",
        module="signoff.engine.runs",
        old='            keys.finish(cursor, str(requester.id), idempotency, {"run_id": str(run_id)})\n',
        new="            pass\n",
    ),
    Mutant(
        name="a-backup-leaves-the-decisions-out",
        promise=14,
        what="the dump has the runs and their log, and no row of any decision",
        module="signoff.embedded.dumps",
        old='"--format=custom", ',
        new='"--format=custom", "--exclude-table-data=decisions", ',
        tier="ci",
    ),
    Mutant(
        name="who-waits-is-not-listed",
        promise=14,
        what="the check of a restored database says nothing of runs that wait for a person",
        module="signoff.store.unfinished",
        old="NOT IN ('completed', 'canceled')",
        new="NOT IN ('completed', 'canceled', 'waiting')",
        tier="ci",
    ),
    Mutant(
        name="newer-anchors-are-nothing-special",
        promise=14,
        what="anchors that are newer than the backup look like a log that was changed",
        module="signoff.engine.checking",
        old="        if missing:\n            newer.append(signed)",
        new="        if missing:\n            return None",
        tier="ci",
    ),
    Mutant(
        name="any-view-will-do",
        promise=20,
        what="a decision is taken whichever revision was looked at",
        module="signoff.transitions.decisions",
        old="    if request.payload_sha256 not in (None, task.payload_sha256) or",
        new="    if request is None and",
        tier="ci",
    ),
    Mutant(
        name="what-is-stored-was-shown",
        promise=20,
        what="a decision does not ask whether what is stored is what was shown",
        module="signoff.transitions.decisions",
        old="        if _hash_of(stored) != task.payload_sha256:",
        new="        if task is None:",
        tier="ci",
    ),
    Mutant(
        name="what-is-stored-was-approved",
        promise=20,
        what="a worker executes whatever the run's row has",
        module="signoff.engine.approved",
        old="    if not row.has_human_tasks:",
        new="    if row is not None:",
        tier="ci",
    ),
    Mutant(
        name="all-that-is-coming-is-due",
        promise=8,
        what="a human task that is woken climbs its whole ladder",
        module="signoff.transitions.timers",
        old="task.wake_at is None or task.wake_at > fold.now:",
        new="task.wake_at is None:",
        tier="ci",
    ),
    Mutant(
        name="retries-do-not-wait",
        promise=8,
        what="the sweep sends the next attempt whenever it comes by",
        module="signoff.store.leases",
        old="WHERE due_at <= (SELECT clock_timestamp()) AND status IN ('queued', 'retrying')",
        new="WHERE (due_at <= clock_timestamp() OR status = 'retrying') AND status IN ('queued', 'retrying')",
        tier="ci",
    ),
    Mutant(
        name="a-reminder-does-not-count",
        promise=8,
        what="a reminder that was given is given again",
        module="signoff.transitions.human_task_events",
        old='event.data["overdue"] else task.rung + 1',
        new='event.data["overdue"] else task.rung',
        tier="ci",
    ),
    Mutant(
        name="nobody-looks-at-the-clock-in-time",
        promise=8,
        what="human tasks are woken ten seconds after their time",
        module="signoff.store.leases",
        old="WHERE wake_at <= (SELECT clock_timestamp())",
        new="WHERE wake_at <= (SELECT clock_timestamp()) - interval '10 seconds'",
        tier="ci",
    ),
    Mutant(
        name="told-to-stop-is-stopped",
        promise=12,
        what="a worker that is told to stop does not wait for its steps",
        module="signoff_workers.in_hand",
        old="        while self.in_hand.anything():",
        new="        while self.in_hand is None:",
        tier="ci",
    ),
    Mutant(
        name="nothing-is-let-go",
        promise=12,
        what="what a worker was cut off from waits until its lease ends",
        module="signoff_workers.worker",
        old="        # Its pool is gone by now.\n        let_go(settings, in_hand)",
        new="        pass",
        tier="ci",
    ),
    Mutant(
        name="a-full-pool-is-500",
        promise=13,
        what="no free connection is an error of ours instead of a 503",
        module="signoff.store.database",
        old="    sa.exc.TimeoutError,\n",
        new="",
        tier="ci",
    ),
    Mutant(
        name="statements-take-as-long-as-they-like",
        promise=13,
        what="whoever waits for a lock waits for ever",
        module="signoff.store.database",
        old="-c statement_timeout={round(statement_timeout_seconds * 1000)}",
        new="-c statement_timeout=0",
        tier="ci",
    ),
    Mutant(
        name="every-run-is-of-the-newest-version",
        promise=11,
        what="a run goes on by the newest definition of its workflow, not by the one it was started with",
        module="signoff.store.versions",
        old='WHERE workflow = %s AND number = %s", (workflow, number))',
        new='WHERE workflow = %s AND number >= %s ORDER BY number DESC", (workflow, number))',
        tier="ci",
    ),
    Mutant(
        name="what-a-newer-release-made-is-migrated",
        promise=11,
        what="an older release goes at a database that a newer one has migrated",
        module="signoff.store.migrations",
        old="if current is not None and current not in known:",
        new="if current is None:",
        tier="ci",
    ),
    Mutant(
        name="a-message-is-always-work",
        promise=6,
        what="a message claims its run whatever the run is doing",
        module="signoff.store.leases",
        old="WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'queued'",
        new="WHERE id = %(id)s AND worker IS NULL AND status <> 'nothing'",
        tier="ci",
    ),
    Mutant(
        name="a-message-takes-what-others-have",
        promise=6,
        what="a message claims its run from the worker that has it",
        module="signoff.store.leases",
        old="WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'queued'",
        new="WHERE id = %(id)s AND status IN ('queued', 'running')",
        tier="ci",
    ),
    Mutant(
        name="a-callback-is-always-news",
        promise=6,
        what="the id of a callback's message is not looked up",
        module="signoff_api.callbacks",
        old="body.human_task_id, said, key, check=check)",
        new="body.human_task_id, said, None, check=check)",
        tier="ci",
    ),
    Mutant(
        name="a-quorum-is-one-short",
        promise=10,
        what="the gate is satisfied by one approval fewer than it asks for",
        module="signoff.transitions.decisions",
        old="count >= (gate",
        new="count + 1 >= (gate",
        tier="ci",
    ),
    Mutant(
        name="a-timer-fires-early",
        promise=10,
        what="a human task that is looked at too soon is taken for due",
        module="signoff.transitions.timers",
        old="task.wake_at > fold.now",
        new="task.wake_at is None",
        tier="ci",
    ),
    Mutant(
        name="the-head-forgets-an-edit",
        promise=10,
        what="the row keeps the payload that was drafted, the log has the one that was approved",
        module="signoff.transitions.fold",
        old='        moved = replace(moved, value=event.data["output"], outputs=',
        new="        moved = replace(moved, outputs=",
        tier="ci",
    ),
    Mutant(
        name="a-sweep-looks-at-all-that-is-parked",
        promise=9,
        what="whether a human task is due is asked of every one that will ever be",
        module="signoff.store.leases",
        old="FROM human_tasks WHERE wake_at <= (SELECT clock_timestamp())",
        new="FROM human_tasks WHERE wake_at <= clock_timestamp()",
        tier="ci",
    ),
    Mutant(
        name="whoever-waits-is-sent-again",
        promise=9,
        what="a parked run is taken for one whose message was lost",
        module="signoff.store.leases",
        old="WHERE due_at <= (SELECT clock_timestamp()) AND status IN ('queued', 'retrying')",
        new="WHERE due_at IS NULL AND status IN ('queued', 'retrying', 'waiting')",
        tier="ci",
    ),
)
MUTANTS = {mutant.name: mutant for mutant in _ALL}


def caught(mutant: Mutant) -> bool:
    """Play the scenarios of its promise with this mutant, until one fails."""
    from tests.chaos.registry import Tier, play, scenarios, stage

    tier = Tier(mutant.tier)
    for one in scenarios(tier=tier, promises=[mutant.promise]):
        with stage(share=False, mutant=mutant.name) as on:
            outcome = play(one, on, seed=SEED, tier=tier, say=lambda _: None)
        if not outcome.ok:
            print(f"caught: {mutant.name} ({mutant.what}): {outcome.problems[0]}", flush=True)
            return True
    print(f"MISSED: {mutant.name} ({mutant.what})", flush=True)
    return False


def run_all(promises: Iterable[int] = (), names: Iterable[str] = ()) -> dict[int, tuple[int, int]]:
    """Caught and missed by promise."""
    wanted, chosen = set(promises), set(names)
    found: dict[int, list[bool]] = defaultdict(list)
    for mutant in MUTANTS.values():
        if (not wanted or mutant.promise in wanted) and (not chosen or mutant.name in chosen):
            found[mutant.promise].append(caught(mutant))
    return {promise: (each.count(True), each.count(False)) for promise, each in sorted(found.items())}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTANTS))
    parser.add_argument("--promise", default="", metavar="N,M", help="only these")
    asked = parser.parse_args()
    found = run_all([int(part) for part in asked.promise.split(",") if part], asked.names)
    print("\npromise  caught  missed")
    for promise, (good, bad) in found.items():
        print(f"{promise:>7}  {good:>6}  {bad:>6}")
    return 1 if any(bad for _, bad in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
