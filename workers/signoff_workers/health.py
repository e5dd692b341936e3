"""The health probe of a worker or beat: whether runs move, which a living process does not prove."""

from __future__ import annotations

import sys

from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.leases import oldest_overdue_seconds


def run_health(settings: Settings) -> int:
    """0, or 1 when a run or human task has been due for longer than the limit: no worker picks up, or nobody sweeps.

    A process that is alive and consumes nothing looks well from outside; what it leaves undone shows in the database.
    """
    database = Database.connect(settings.require_database_url(), pool_size=1)
    try:
        with database.transaction() as cursor:
            late = oldest_overdue_seconds(cursor)
    finally:
        database.close()
    limit = settings.health_overdue_seconds
    sys.stdout.write(f"oldest overdue run or human task: {late:.1f} s (limit {limit:g} s)\n")
    return 0 if late <= limit else 1
