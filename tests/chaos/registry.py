"""What a scenario is written against: its tier and size, the plant it may harm, and what it has to give back."""

from __future__ import annotations

import importlib
import pkgutil
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.oracle import Judgement, judge
from tests.chaos.plant import QUICK, Plant
from tests.chaos.workload import USUAL, Item, Wish, items

LOSE_EVERY = 10
"""Every tenth answer of the receiver gets lost, so that many an effect is asked for again without any fault of ours."""
STALL_SECONDS = 90.0
MUTANT_STALL_SECONDS = 15.0
"""A mutant often ends in nothing going on any more, which need not be looked at for long."""


class Tier(StrEnum):
    """How much is tried."""

    SLICE = "slice"
    """Part of `make test`: every mechanism, hardly any repetition."""
    CI = "ci"
    """Reduced figures, within 15 minutes in all."""
    LONG = "long"
    """The figures that are promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much a scenario tries at one tier. `faults` is a quota: fewer that happened are a failure."""

    tries: int
    faults: int = 0
    reduced_from: str = ""
    """What the promise's full figure is, where this tier tries less of it than `long` should; shown in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the table."""

    promise: int
    title: str
    tried: int
    injected: int
    lost: int
    doubled: int
    worst_recovery_s: float | None
    problems: tuple[str, ...]
    """Why it has failed; empty when it has not."""
    seconds: float
    details: str = ""
    """The faults by kind, for whoever reads the output."""
    reduced_from: str = ""
    """What the full figure would be, where less was tried."""
    skipped: str = ""
    """What was left out because this machine does not have what it takes, and why."""

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass
class Stage:
    """Where scenarios are played, one after the other. At the tier `slice` they share one plant."""

    folder: Path
    share: bool
    mutant: str | None = None
    plant: Plant | None = None
    loads: list[Load] = field(default_factory=list)
    _asked: object = None
    _plants: int = 0
    _number: int = 1

    def planted(self, settings: Mapping[str, str], workers: int, lose_every: int) -> Plant:
        """A plant with these settings; the one that is there, when it is the same and may be shared."""
        asked = (dict(settings), workers, lose_every)
        if self.plant is None or not self.share or asked != self._asked:
            self.close()
            self._plants += 1
            folder = self.folder / f"plant-{self._plants}"
            made = Plant(folder=folder, settings=settings, mutant=self.mutant, workers=workers, lose_every=lose_every)
            self.plant = made.__enter__()
            self._asked, self.loads = asked, []
        return self.plant

    def numbers(self, count: int) -> int:
        """The first of so many item numbers that no other load has."""
        first, self._number = self._number, self._number + count
        return first

    def close(self) -> None:
        if self.plant is not None:
            self.plant.close()
            self.plant = None


@contextmanager
def stage(*, share: bool, mutant: str | None = None) -> Iterator[Stage]:
    """A stage in a folder of its own, cleared at the end."""
    with tempfile.TemporaryDirectory(prefix="signoff-chaos-") as folder:
        made = Stage(folder=Path(folder), share=share, mutant=mutant)
        try:
            yield made
        finally:
            made.close()


@dataclass(kw_only=True)
class Arena:
    """What one scenario is handed: its seed, its size, and the stage. `say` is for progress."""

    scenario: Scenario
    stage: Stage
    seed: int
    tier: Tier
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.draw = random.Random(f"{self.seed}:{self.scenario.promise}:{self.scenario.title}")
        self._began = time.monotonic()

    @property
    def size(self) -> Size:
        return self.scenario.sizes[self.tier]

    def plant(self, settings: Mapping[str, str] = QUICK, *, workers: int = 1, lose_every: int = 0) -> Plant:
        """The processes, started and ready."""
        return self.stage.planted(settings, workers, lose_every)

    def faults(self, plant: Plant) -> Faults:
        return Faults(plant=plant, draw=self.draw)

    def load(self, plant: Plant, *, window: int = 40, reviewers: int = 2) -> Load:
        """Clients for this plant; what they do is judged with all else that was done to it."""
        stall = STALL_SECONDS if self.stage.mutant is None else MUTANT_STALL_SECONDS
        tag = f"p{self.scenario.promise}-{self.stage.numbers(0)}"
        made = Load(plant, tag=tag, window=window, reviewers=reviewers, stall_seconds=stall)
        self.stage.loads.append(made)
        return made

    def items(self, count: int, *, shares: Mapping[Wish, int] = USUAL) -> list[Item]:
        """So many items that no other load has, by the seed."""
        return items(self.seed, count, first=self.stage.numbers(count), shares=shares)

    def judged(
        self, loads: Sequence[Load], faults: Faults, *, tried: int, problems: Sequence[str] = (), recover: float = 60.0
    ) -> Outcome:
        """Ask the oracle, and make the row. `recover` is the longest that a recovery may take, in seconds."""
        assert self.stage.plant is not None
        recoveries = [seconds for load in loads for seconds in load.recoveries]
        worst = max(recoveries, default=None)
        found = [
            *problems,
            *(f"{load.tag}: {load.unrecovered()} runs never moved again" for load in loads if load.unrecovered()),
        ]
        if faults.injected < self.size.faults:
            found.append(f"{faults.injected} faults happened, and {self.size.faults} are asked for")
        if worst is not None and worst > recover:
            found.append(f"a run took {worst:.1f} s to recover, and {recover:g} s are promised")
        for load in loads:
            load.close()
        judgement = judge(self.stage.plant, self.stage.loads)
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.counts.items()))
        return self.outcome(
            judgement, tried=tried, injected=faults.injected, worst=worst, problems=found, details=kinds
        )

    def outcome(
        self,
        judgement: Judgement,
        *,
        tried: int,
        injected: int,
        worst: float | None,
        problems: Sequence[str] = (),
        details: str = "",
        skipped: str = "",
    ) -> Outcome:
        """The row, for scenarios that judge in a way of their own; `check_database` belongs in that, too."""
        return Outcome(
            promise=self.scenario.promise,
            title=self.scenario.title,
            tried=tried,
            injected=injected,
            lost=len(judgement.lost),
            doubled=len(judgement.doubled),
            worst_recovery_s=worst,
            problems=(*problems, *([] if judgement.ok else str(judgement).splitlines())),
            seconds=time.monotonic() - self._began,
            details=details,
            reduced_from=self.size.reduced_from,
            skipped=skipped,
        )


Play: TypeAlias = Callable[[Arena], Outcome]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One promise under test. A tier without a size leaves it out."""

    promise: int
    title: str
    sizes: Mapping[Tier, Size]
    play: Play


_SCENARIOS: list[Scenario] = []


def scenario(*, promise: int, title: str, sizes: Mapping[Tier, Size]) -> Callable[[Play], Play]:
    """Declare a function as a scenario. Several may serve one promise; their titles differ."""

    def declare(play: Play) -> Play:
        _SCENARIOS.append(Scenario(promise=promise, title=title, sizes=sizes, play=play))
        return play

    return declare


def scenarios(*, tier: Tier, promises: Sequence[int] = ()) -> list[Scenario]:
    """Those of `tests.chaos.scenarios` that this tier has, by promise."""
    from tests.chaos import scenarios as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    chosen = [each for each in _SCENARIOS if tier in each.sizes and (not promises or each.promise in promises)]
    return sorted(chosen, key=lambda each: (each.promise, each.title))


def play(one: Scenario, on: Stage, *, seed: int, tier: Tier, say: Callable[[str], None]) -> Outcome:
    """Play one scenario to its row. Whatever it raises is a failure of its own, and a row as well."""
    arena = Arena(scenario=one, stage=on, seed=seed, tier=tier, say=say)
    try:
        return one.play(arena)
    except Exception as error:  # noqa: BLE001  # the table has to say it, and the other promises go on
        problems, judgement = [f"{type(error).__name__}: {error}"], Judgement()
        if on.plant is not None and on.loads:
            try:
                judgement = judge(on.plant, on.loads)
            except Exception as another:  # noqa: BLE001  # the same
                problems.append(f"it could not be judged: {type(another).__name__}: {another}")
        return arena.outcome(judgement, tried=0, injected=0, worst=None, problems=problems)
