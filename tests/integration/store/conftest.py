"""Databases for tests of what is stored, and one that has a run in every state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.engine.world import World, shift_clock
from tests.integration.store.tampering import Archive


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """An engine and a database that this test has for itself."""
    shift_clock(database_url)
    made = World.on(database_url)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def archive(module_database_url: str) -> Iterator[Archive]:
    """A database with a run in every state, which is put back as it was after each change."""
    shift_clock(module_database_url)
    world = World.on(module_database_url)
    with Archive.of(world) as made:
        yield made
    world.engine.close()
