"""A run in every state, down each step of the migrations and up again, and then on to its end.

    python -m tests.chaos.stairs DATABASE_URL       says what it found as one line of JSON

It is a process of its own so that a guard can be taken out of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from uuid import UUID

import psycopg

from signoff.definition.graph import StepNode
from signoff.errors import ConfigurationError, SignoffError
from signoff.model import RunStatus, TaskState
from signoff.store import migrations
from tests.integration.engine.world import ANA, BEN, World, shift_clock
from tests.integration.store.states import a_run_in_every_state
from tests.integration.store.test_migrations import REVISIONS

OPERATIONS = 60
"""More than any run of these needs to its end."""
HOUR = 3_600.0
LOG = "SELECT run_id, seq, hash FROM events ORDER BY run_id, seq"


def main(url: str) -> None:
    shift_clock(url)
    world = World.on(url)
    runs = a_run_in_every_state(world)
    before, log = world.engine.verify(), world.sql(LOG)
    problems = []
    for revision in REVISIONS[:-1]:
        migrations.downgrade(url, revision)
        migrations.upgrade(url)
        world.engine.database.close()
        if world.sql(LOG) != log:
            problems.append(f"down to {revision} and up again, the log is another")
    found = world.engine.verify()
    if found != before:
        problems.append(f"what verified before is now {found}")
    problems += _newer_is_left_alone(url)
    lost = [name for name, run_id in runs.items() if not _ends(world, run_id)]
    found = world.engine.verify()
    if not found.ok:
        problems.append(f"the runs that went on do not verify: {found.first_bad}")
    world.engine.close()
    steps = len(REVISIONS) - 1
    sys.stdout.write(json.dumps({"runs": found.runs, "steps": steps, "lost": lost, "problems": problems}) + "\n")


def _newer_is_left_alone(url: str) -> list[str]:
    """What a newer release has migrated is refused, up and down."""
    head = migrations.head()
    problems = []
    for change in (migrations.upgrade, lambda url: migrations.downgrade(url, "base")):
        _set_revision(url, "9999")
        try:
            change(url)
            problems.append("a database of a newer release was migrated")
        except ConfigurationError:
            pass
        except Exception as error:  # noqa: BLE001  # whatever else it is, it is no refusal
            problems.append(f"a database of a newer release is not refused but {error!r}")
    _set_revision(url, head)
    return problems


def _set_revision(url: str, revision: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))


def _ends(world: World, run_id: UUID) -> bool:
    """Whether workers, people and the clock bring it to an end."""
    for _ in range(OPERATIONS):
        state = world.state(run_id)
        if state.status.finished:
            return True
        _one_more(world, run_id)
    return False


def _one_more(world: World, run_id: UUID) -> None:
    row = world.row(run_id)
    match row.row_status:
        case RunStatus.QUEUED:
            node = world.graphs[row.state.workflow].nodes[row.state.node or ""]
            assert isinstance(node, StepNode)
            world.work(run_id, {"amount": 4, "text": "done"})
        case RunStatus.WAITING:
            _decide(world, run_id)
        case _:
            # A lease that ends, a retry that comes due.
            world.later(60)
            world.engine.sweep()
            world.check(run_id)


def _decide(world: World, run_id: UUID) -> None:
    opened = [task for task in world.state(run_id).human_tasks.values() if task.state is TaskState.OPEN]
    before = world.state(run_id).seq
    for person in (ANA, BEN):
        # What somebody has said already stands, and saying it again is answered as the first time.
        with contextlib.suppress(SignoffError):
            world.decide(run_id, person, "approve", task=opened[0])
        if world.state(run_id).seq > before:
            return
    # Everybody has said what they can: it is in grace, or somebody else's turn, which the clock ends.
    world.later(HOUR)
    world.engine.sweep()


if __name__ == "__main__":
    main(sys.argv[1])
