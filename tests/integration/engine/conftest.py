"""Engines on databases whose clock the tests move."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.engine.world import World, shift_clock


@pytest.fixture(scope="module")
def world(module_database_url: str) -> Iterator[World]:
    """One engine for the tests of a module; each starts runs of its own."""
    shift_clock(module_database_url)
    made = World.on(module_database_url)
    yield made
    made.engine.close()


@pytest.fixture
def own_world(database_url: str) -> Iterator[World]:
    """An engine and a database that this test has for itself, for what looks at everything there is."""
    shift_clock(database_url)
    made = World.on(database_url)
    yield made
    made.engine.close()
