"""A load whose reviewers wait for a word: so long, everything that asks a person is parked."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.chaos.client import Client
from tests.chaos.load import Load
from tests.chaos.plant import Plant
from tests.chaos.registry import Arena
from tests.chaos.workload import Item


class ParkingLoad(Load):
    """As any load, but nobody decides before `let_decide()`, and each reviewer thinks for `pace` seconds."""

    def __init__(self, plant: Plant, *, pace: float = 0.0, **options: Any) -> None:
        self.reviews = threading.Event()
        self.pace = pace
        super().__init__(plant, **options)

    def _act(self, client: Client, admin: Client, item: Item, task: dict[str, Any]) -> None:
        while not self.reviews.wait(0.05):
            if self._ending.is_set():
                return
        if not self._ending.wait(self.pace):
            super()._act(client, admin, item, task)

    def let_decide(self) -> None:
        """From now on. That nothing has moved while all were parked is no standstill."""
        self._moved_at = time.monotonic()
        self.reviews.set()

    def wait_started(self) -> None:
        """Return once clients were told of every start. Raises NoProgress, WrongAnswer."""
        self.wait(lambda: len(self.started) >= len(self.items))


def parking_load(arena: Arena, plant: Plant, *, window: int, pace: float = 0.0) -> ParkingLoad:
    """One of the arena's own, so that it is judged with the others."""
    tag = f"p{arena.scenario.promise}-{arena.stage.numbers(0)}"
    made = ParkingLoad(plant, tag=tag, window=window, pace=pace)
    arena.stage.loads.append(made)
    return made
