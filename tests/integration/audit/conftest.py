"""Databases with an archive of runs, and anchors beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.audit.notary import Notary
from tests.integration.engine.world import World, shift_clock


@pytest.fixture
def notary(database_url: str, tmp_path: Path) -> Iterator[Notary]:
    """An engine with keys and a file of anchors, which is not begun, on a database that this test has for itself."""
    shift_clock(database_url)
    with Notary.at(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def world(notary: Notary) -> World:
    """The same database by an engine that knows of no anchors: what happens in it looks at no file."""
    return notary.plain
