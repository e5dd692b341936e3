"""What is recorded stands on what was read, also where a lock should have seen to it."""

from __future__ import annotations

import pytest
from tests.integration.engine.flows import CHAIN
from tests.integration.engine.world import REQUESTER, World

from signoff.transitions import runs


@pytest.mark.parametrize("touched", ["epoch = epoch + 1", "seq = seq + 1", "status = 'running'"])
def test_a_row_that_is_not_as_it_was_locked_is_not_written_over(world: World, touched: str) -> None:
    run_id = world.start(CHAIN, {})
    core = world.engine.core

    def cancel_what_is_touched() -> None:
        with core.database.transaction() as cursor:
            locked = core.lock(cursor, run_id)
            assert locked is not None
            runs.cancel(locked.fold, actor=REQUESTER.actor, reason="enough")
            cursor.execute(f"UPDATE runs SET {touched} WHERE id = %s", (run_id,))
            core.save(cursor, locked, core.lease_after(locked))

    with pytest.raises(RuntimeError, match="while it was locked"):
        cancel_what_is_touched()
    assert world.kinds(run_id) == ["run.created"]
    world.check(run_id)
