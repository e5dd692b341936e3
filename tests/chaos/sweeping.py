"""How long sweeps take: `python -m tests.chaos.sweeping DATABASE_URL COUNT` says so many milliseconds as JSON.

It is a process of its own so that a guard can be taken out of it.
"""

from __future__ import annotations

import json
import sys
import time

from signoff.engine import Engine
from signoff.settings import Settings
from signoff.store.database import Database
from tests.integration.engine.world import RecordingPublisher

WARM_UP = 5


def main(url: str, count: int) -> list[float]:
    settings = Settings(database_url=url)  # type: ignore[arg-type]
    engine = Engine(database=Database.connect(url, pool_size=1), publisher=RecordingPublisher(), settings=settings)
    taken = []
    try:
        for _ in range(WARM_UP + count):
            began = time.perf_counter()
            engine.sweep()
            taken.append((time.perf_counter() - began) * 1_000)
    finally:
        engine.close()
    return taken[WARM_UP:]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]))) + "\n")
