"""Failpoints act once, in the process whose turn it is, and only where they were asked for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest

from signoff import failpoints
from signoff.errors import ConfigurationError
from signoff.settings import load_settings

CHEAP_NANOSECONDS = 500.0
"""Far above the 20 ns that it takes, because other tests use the same cores, and far below a look at the disk."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    failpoints.arm(tmp_path)
    yield tmp_path
    failpoints.arm(None)


def test_production_refuses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOFF_FAILPOINTS", str(tmp_path))
    for environment in (None, "production"):
        if environment is not None:
            monkeypatch.setenv("SIGNOFF_ENVIRONMENT", environment)
        with pytest.raises(ConfigurationError, match=r"^SIGNOFF_FAILPOINTS: .*SIGNOFF_ENVIRONMENT is test"):
            load_settings()
    monkeypatch.setenv("SIGNOFF_ENVIRONMENT", "test")
    assert load_settings().failpoints == tmp_path


def test_one_that_is_off_costs_nothing_and_looks_at_nothing(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("raise 1")
    failpoints.hit("here")
    best = min(timeit.repeat(lambda: failpoints.hit("here"), number=10_000, repeat=5)) / 10_000
    assert best * 1e9 < CHEAP_NANOSECONDS


def test_the_nth_that_comes_by_acts_and_nobody_else(folder: Path) -> None:
    (folder / "here").write_text("raise 3")
    failpoints.hit("elsewhere")
    failpoints.hit("here")
    failpoints.hit("here")
    with pytest.raises(failpoints.FailpointReached, match="here"):
        failpoints.hit("here")
    failpoints.hit("here")
    assert (folder / "here.fired").read_text().split()[0] == str(os.getpid())


def test_of_several_processes_one_is_killed(folder: Path) -> None:
    (folder / "here").write_text("kill 2")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=failpoints.hit, args=("here",)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(10)
    assert sorted(process.exitcode or 0 for process in processes) == [-signal.SIGKILL, 0, 0, 0]
