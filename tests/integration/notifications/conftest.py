"""A world whose clock moves, its people, and a mail server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.engine.world import World, shift_clock
from tests.integration.notifications.mail import Mailbox, Office, smtp


@pytest.fixture
def office(database_url: str) -> Iterator[Office]:
    shift_clock(database_url)
    world = World.on(database_url)
    made = Office(world=world)
    for name in ("ana", "ben"):
        made.person(name, "leads")
    yield made
    world.engine.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp() as made:
        yield made
