"""One `signoff dev` for all tests that leave its processes alone; tests that harm them have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack, stack


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A `signoff dev` that nobody harms. Tests that use it are of the xdist group `acceptance`."""
    with stack(tmp_path_factory.mktemp("dev")) as found:
        yield found


@pytest.fixture
def admin(running: Stack) -> Caller:
    """Has all roles and is a candidate of nothing."""
    return running.as_("admin")


@pytest.fixture
def requester(running: Stack) -> Caller:
    """A service that starts runs."""
    return running.as_("requester")


@pytest.fixture
def ana(running: Stack) -> Caller:
    """A support lead."""
    return running.as_("ana")


@pytest.fixture
def sam(running: Stack) -> Caller:
    """Another support lead."""
    return running.as_("sam")


@pytest.fixture
def max_(running: Stack) -> Caller:
    """A support manager."""
    return running.as_("max")
