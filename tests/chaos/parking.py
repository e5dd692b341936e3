"""A load whose reviewers wait for a word: so long, everything that asks a person is parked."""

from __future__ import annotations

import threading
from typing import Any

from tests.chaos.client import Client
from tests.chaos.load import Load
from tests.chaos.plant import Plant
from tests.chaos.registry import Arena


class ParkingLoad(Load):
    """As any load, but nobody reviews before `reviews.set()`."""

    def __init__(self, plant: Plant, **options: Any) -> None:
        self.reviews = threading.Event()
        super().__init__(plant, **options)

    def _review(self, client: Client, at: int, reviewers: int) -> None:
        while not self.reviews.wait(0.05):
            if self._ending.is_set():
                return
        super()._review(client, at, reviewers)

    def wait_started(self) -> None:
        """Return once clients were told of every start. Raises NoProgress, WrongAnswer."""
        self.wait(lambda: len(self.started) >= len(self.items))


def parking_load(arena: Arena, plant: Plant, *, window: int, stall_seconds: float = 90.0) -> ParkingLoad:
    """One of the arena's own, so that it is judged with the others."""
    tag = f"p{arena.scenario.promise}-{arena.stage.numbers(0)}"
    made = ParkingLoad(plant, tag=tag, window=window, stall_seconds=stall_seconds)
    arena.stage.loads.append(made)
    return made
