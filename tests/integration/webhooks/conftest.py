"""A world whose clock moves, with a sender."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.engine.world import World, shift_clock
from tests.integration.webhooks.receiver import Sender


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    shift_clock(database_url)
    world = World.on(database_url)
    yield Sender(world=world)
    world.engine.close()
