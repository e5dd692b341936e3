"""Rows that say what is still to be sent to whom, and when: what webhooks and notifications have in common.

They are made with what they tell of. A worker takes some, which counts the attempt and gives it a while, sends outside
of any transaction, and records how it went. If it dies between, they are due again when the while is over: nothing is
lost, and what was sent and not recorded comes twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from signoff.errors import Conflict, NotFound
from signoff.store.database import Cursor, Row
from signoff.webhooks.schedule import next_attempt, pause_seconds

MAX_LISTED = 200
DEAD, PENDING = "dead", "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A row that this worker has for a while. `attempts` counts this one; `since` is when the first could have been."""

    id: UUID
    run_id: UUID | None
    seq: int | None
    type: str
    attempts: int
    since: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    """The statements over a table of rows and the table of those that they are sent to.

    `owner` is the column that leads from one to the other, `done` the state of what arrived, `noun` and `row_noun` what
    people call the two.
    """

    rows: str
    owners: str
    owner: str
    done: str
    noun: str
    row_noun: str

    def due(self, cursor: Cursor, *, hold_seconds: float) -> list[UUID]:
        """Those whom something is due for, each given out once until `hold_seconds` are over."""
        found = cursor.execute(
            f"UPDATE {self.owners} w SET next_at = clock_timestamp() + %s WHERE id IN ("  # noqa: S608
            f" SELECT id FROM {self.owners} e WHERE disabled_at IS NULL AND next_at <= clock_timestamp() AND EXISTS ("
            f"  SELECT 1 FROM {self.rows} d WHERE d.{self.owner} = e.id AND d.due_at <= (SELECT clock_timestamp()))"
            " FOR NO KEY UPDATE SKIP LOCKED) RETURNING id",
            (timedelta(seconds=hold_seconds),),
        ).fetchall()
        return [row[0] for row in found]

    def hold(self, cursor: Cursor, owner_id: UUID, *, seconds: float) -> None:
        """Let nobody look at it for a while. Its row is locked until the transaction ends."""
        cursor.execute(
            f"UPDATE {self.owners} SET next_at = clock_timestamp() + %s WHERE id = %s",  # noqa: S608
            (timedelta(seconds=seconds), owner_id),
        )

    def take(self, cursor: Cursor, owner_id: UUID, *, limit: int, lease_seconds: float) -> list[Taken]:
        """Some that are due, the longest due first; nobody else has them for a while."""
        taken = cursor.execute(
            f"UPDATE {self.rows} d SET attempts = d.attempts + 1, attempted_at = clock_timestamp(),"  # noqa: S608
            " due_at = clock_timestamp() + %s"
            f" FROM {self.owners} w WHERE w.id = d.{self.owner} AND w.disabled_at IS NULL AND d.id IN ("
            f"  SELECT id FROM {self.rows} WHERE {self.owner} = %s AND due_at <= (SELECT clock_timestamp())"
            "  ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING d.id, d.run_id, d.seq, d.type, d.attempts, d.since, d.created_at",
            (timedelta(seconds=lease_seconds), owner_id, limit),
        ).fetchall()
        found = [
            Taken(id=row[0], run_id=row[1], seq=row[2], type=row[3], attempts=row[4], since=row[5], created_at=row[6])
            for row in taken
        ]
        return sorted(found, key=lambda each: (each.created_at, each.seq or 0))

    def record(
        self,
        cursor: Cursor,
        attempted: Mapping[UUID, tuple[int, datetime]],
        *,
        ok: bool,
        final: bool = False,
        give_up_after: timedelta,
        random: float,
        said: Mapping[str, Any],
    ) -> dict[UUID, str]:
        """Write down how an attempt at some rows went; the state of each then.

        `attempted` has the count of attempts and the `since` of each; what was taken from this worker meanwhile is left
        out. `final` means that it is not tried again; `said` are columns with what is known of the attempt.
        """
        found = cursor.execute(
            f"SELECT id, attempts, clock_timestamp() FROM {self.rows}"  # noqa: S608
            " WHERE id = ANY(%s) AND state = 'pending' ORDER BY id FOR UPDATE",
            (list(attempted),),
        ).fetchall()
        states: dict[UUID, str] = {}
        due: list[datetime | None] = []
        for row_id, attempts, now in found:
            count, since = attempted[row_id]
            if attempts != count:
                continue
            again = None
            if not ok and not final:
                again = next_attempt(attempts=count, since=since, now=now, give_up_after=give_up_after, random=random)
            states[row_id] = self.done if ok else DEAD if again is None else PENDING
            due.append(again)
        columns = "".join(f", {name} = %({name})s" for name in said)
        cursor.execute(
            f"UPDATE {self.rows} d SET state = g.state, due_at = g.due{columns}"  # noqa: S608
            " FROM unnest(%(ids)s::uuid[], %(states)s::text[], %(due)s::timestamptz[]) AS g (id, state, due)"
            " WHERE d.id = g.id",
            {"ids": list(states), "states": list(states.values()), "due": due} | dict(said),
        )
        return states

    def settle(self, cursor: Cursor, owner_id: UUID, *, delivered: bool, failed: bool) -> None:
        """After the last round: let it be looked at again, at once or, after failures, when it had a pause."""
        row = cursor.execute(
            f"UPDATE {self.owners} SET failures = CASE WHEN %s THEN 0 WHEN %s THEN failures + 1 ELSE failures END"  # noqa: S608
            " WHERE id = %s RETURNING failures",
            (delivered, failed, owner_id),
        ).fetchone()
        self.hold(cursor, owner_id, seconds=pause_seconds(row[0] or 1) if row is not None and failed else 0.0)

    def listed(
        self, cursor: Cursor, columns: str, owner_id: UUID | None, *, state: str | None, limit: int
    ) -> Sequence[Row]:
        """The newest rows, of one owner or of all. Raises NotFound for an owner that is not there."""
        if owner_id is not None:
            found = cursor.execute(f"SELECT 1 FROM {self.owners} WHERE id = %s", (owner_id,)).fetchone()  # noqa: S608
            if found is None:
                raise self.missing()
        return cursor.execute(
            f"SELECT {columns} FROM {self.rows} WHERE (%s::uuid IS NULL OR {self.owner} = %s)"  # noqa: S608
            " AND (%s::text IS NULL OR state = %s) ORDER BY created_at DESC, id DESC LIMIT %s",
            (owner_id, owner_id, state, state, min(limit, MAX_LISTED)),
        ).fetchall()

    def again(
        self, cursor: Cursor, columns: str, row_id: UUID, *, owner_id: UUID | None = None, forget: Sequence[str] = ()
    ) -> Row:
        """Let a row be sent once more, as if it were new but under its id; `forget` are columns that become empty.

        Raises NotFound, and Conflict while it is waiting to be sent anyway or its owner is disabled.
        """
        row = cursor.execute(
            f"SELECT d.state, w.disabled_at FROM {self.rows} d JOIN {self.owners} w ON w.id = d.{self.owner}"  # noqa: S608
            " WHERE d.id = %s AND (%s::uuid IS NULL OR w.id = %s) FOR UPDATE OF d",
            (row_id, owner_id, owner_id),
        ).fetchone()
        if row is None:
            raise NotFound(f"there is no such {self.row_noun}")
        if row[0] == PENDING:
            raise Conflict(f"the {self.row_noun} is still to be sent")
        if row[1] is not None:
            raise self.disabled()
        columns_reset = "".join(f", {name} = NULL" for name in forget)
        found = cursor.execute(
            f"UPDATE {self.rows} SET state = 'pending', attempts = 0, error = NULL{columns_reset},"  # noqa: S608
            f" since = clock_timestamp(), due_at = clock_timestamp() WHERE id = %s RETURNING {columns}",
            (row_id,),
        ).fetchone()
        assert found is not None
        return found

    def forget(self, cursor: Cursor, *, keep_days: float, limit: int) -> int:
        """Delete some old rows that nothing more becomes of; how many."""
        cursor.execute(
            f"DELETE FROM {self.rows} WHERE id IN ("  # noqa: S608
            f" SELECT id FROM {self.rows} d WHERE created_at < (SELECT clock_timestamp()) - %s AND (due_at IS NULL"
            f"  OR NOT EXISTS (SELECT 1 FROM {self.owners} w WHERE w.id = d.{self.owner}))"
            " ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)",
            (timedelta(days=keep_days), limit),
        )
        return cursor.rowcount

    def remove(self, cursor: Cursor, owner_id: UUID) -> None:
        """Remove an owner with its rows; what is not sent yet is not sent. Raises NotFound."""
        cursor.execute(f"DELETE FROM {self.owners} WHERE id = %s", (owner_id,))  # noqa: S608
        if cursor.rowcount == 0:
            raise self.missing()
        # One that is written at this moment by a run is found by nobody, and forgotten when it is old.
        cursor.execute(f"DELETE FROM {self.rows} WHERE {self.owner} = %s", (owner_id,))  # noqa: S608

    def disable(self, cursor: Cursor, owner_id: UUID, *, why: str) -> None:
        """Send it nothing more. What was still to be sent is dead, and can be sent again by hand. Raises NotFound."""
        cursor.execute(
            f"UPDATE {self.owners} SET disabled_at = coalesce(disabled_at, clock_timestamp()),"  # noqa: S608
            " disabled_why = coalesce(disabled_why, %s) WHERE id = %s",
            (why, owner_id),
        )
        if cursor.rowcount == 0:
            raise self.missing()
        self.give_up(cursor, owner_id, why=f"the {self.noun} was disabled")

    def give_up(self, cursor: Cursor, owner_id: UUID, *, why: str) -> None:
        """What was still to be sent to it is dead."""
        cursor.execute(
            f"UPDATE {self.rows} SET state = 'dead', due_at = NULL, error = %s"  # noqa: S608
            f" WHERE {self.owner} = %s AND due_at IS NOT NULL",
            (why, owner_id),
        )

    def enable(self, cursor: Cursor, columns: str, owner_id: UUID) -> Row:
        """Send to it again, what happens from now on. Raises NotFound."""
        row = cursor.execute(
            f"UPDATE {self.owners} SET disabled_at = NULL, disabled_why = NULL, failures = 0,"  # noqa: S608
            f" next_at = clock_timestamp() WHERE id = %s RETURNING {columns}",
            (owner_id,),
        ).fetchone()
        if row is None:
            raise self.missing()
        return row

    def add_test(self, cursor: Cursor, row_id: UUID, owner_id: UUID, kind: str) -> None:
        """Something to send that is about no run. Raises NotFound, Conflict when the owner is disabled."""
        row = cursor.execute(
            f"SELECT disabled_at FROM {self.owners} WHERE id = %s FOR SHARE",  # noqa: S608
            (owner_id,),
        ).fetchone()
        if row is None:
            raise self.missing()
        if row[0] is not None:
            raise self.disabled()
        cursor.execute(
            f"INSERT INTO {self.rows} (id, {self.owner}, type, state, attempts, created_at, since, due_at)"  # noqa: S608
            " SELECT %s, %s, %s, 'pending', 0, at, at, at FROM clock_timestamp() AS at",
            (row_id, owner_id, kind),
        )

    def missing(self) -> NotFound:
        return NotFound(f"there is no such {self.noun}")

    def disabled(self) -> Conflict:
        return Conflict(f"the {self.noun} is disabled", fix="enable it first")


WEBHOOKS = Outbox(
    rows="webhook_deliveries",
    owners="webhook_endpoints",
    owner="endpoint_id",
    done="delivered",
    noun="webhook endpoint",
    row_noun="delivery",
)

NOTIFICATIONS = Outbox(
    rows="notifications",
    owners="notification_channels",
    owner="channel_id",
    done="sent",
    noun="channel",
    row_noun="notification",
)
