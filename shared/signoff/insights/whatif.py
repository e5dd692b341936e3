"""What another threshold would have done to runs that are already decided, and how much of it is known.

Each run is put before the condition once as it is and once with the other number. What people said of the runs they
saw is counted; of those that policy passed nobody knows, except through the sample that a gate lets people review
though its condition would not: drawn by the run's id alone, it speaks for all that the condition lets pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from signoff.canonical import Json
from signoff.definition.cel_scope import PAYLOAD
from signoff.definition.conditions import Expression, Outcome
from signoff.insights.cases import Label, number_at
from signoff.insights.intervals import Share

MIN_LABELS = 30
"""Fewer decisions by people than this are counted and not made into a share: the interval would say anything."""
MAX_SHOWN = 200
"""Characters after which the log cuts a value that a condition saw."""
MAX_NAMES = 20
"""Names of one condition whose values the log keeps."""
_CUT = re.compile(r"a list of \d+|an object of \d+ fields")
_MEMOS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One decided run of the gate. `shown` is what the condition saw, None where that is not known in full.

    `drawn` says that the gate's sample has this run whatever the condition says, `sampled` that only the sample sent
    it to a person. `label` is what people made of it, None where no person decided.
    """

    reviewed: bool
    shown: Json | None
    drawn: bool = False
    sampled: bool = False
    label: Label | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Decisions by people on some runs, by what they came to."""

    by_kind: Mapping[Label, int]

    @classmethod
    def of(cls, cases: Iterable[Case]) -> Labels:
        return cls(by_kind=Counter(case.label for case in cases if case.label is not None))

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())

    @property
    def objections(self) -> int:
        """How many were anything but an approval of what was shown."""
        return self.total - self.by_kind.get(Label.AS_SHOWN, 0)

    @property
    def enough(self) -> bool:
        return self.total >= MIN_LABELS

    @property
    def share(self) -> Share | None:
        """The objections with their interval; None where there are too few labels for one."""
        return Share(count=self.objections, total=self.total) if self.enough else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How many of `runs` people would have objected to, by the `labels` of a sample of their kind."""

    runs: int
    labels: Labels

    @property
    def expected(self) -> tuple[float, float, float] | None:
        """Low, middle and high, in runs; None where there are too few labels."""
        share = self.labels.share
        if share is None or share.value is None:
            return None
        return self.runs * share.low, self.runs * share.value, self.runs * share.high


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """`runs` were replayed and `unknown` could not be. `did` and `would` count those that go to a person.

    `spared` would not be reviewed any more, with what people said of them (`spared_labels`); `added` would be
    reviewed now. `passed` estimates for all that policy passed, `caught` for those among them that are added.
    """

    runs: int
    unknown: int
    did: int
    would: int
    spared: int
    spared_labels: Labels
    added: int
    passed: Estimate
    caught: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A threshold that goes elsewhere: the score's path, and the two numbers between which it matters."""

    score: tuple[str, ...]
    low: float
    high: float

    def matters_to(self, shown: Json) -> bool:
        """Whether the comparison could come out otherwise. Also true where the score is no number."""
        number = number_at(shown, self.score)
        return number is None or self.low <= number <= self.high


def replay(cases: Sequence[Case], move: Move, now: Expression, then: Expression) -> WhatIf:
    """Put each case before the condition as it is and as it would be.

    A case that the condition as it is would not send where it went can't be replayed: what it saw is not known well
    enough. An evaluation that fails sends to a person, as it does in a run.
    """
    now_asks, then_asks = _Asking(now), _Asking(then)
    known: list[tuple[Case, bool]] = []
    for case in cases:
        asked = case.reviewed and not case.sampled
        if case.shown is None:
            continue
        # Beside the two thresholds the comparison says the same at both: the run goes where it went.
        if not move.matters_to(case.shown):
            known.append((case, asked))
        elif now_asks(case.shown) == asked:
            known.append((case, then_asks(case.shown)))
    did = [case for case, _ in known if case.reviewed]
    spared = [case for case, asks in known if case.reviewed and not (asks or case.drawn)]
    passed = [case for case, _ in known if not case.reviewed]
    added = [case for case, asks in known if not case.reviewed and (asks or case.drawn)]
    return WhatIf(
        runs=len(known),
        unknown=len(cases) - len(known),
        did=len(did),
        would=len(did) - len(spared) + len(added),
        spared=len(spared),
        spared_labels=Labels.of(spared),
        added=len(added),
        passed=Estimate(runs=len(passed), labels=Labels.of(case for case, _ in known if case.sampled)),
        caught=Estimate(runs=len(added), labels=Labels.of(case for case, asks in known if case.sampled and asks)),
    )


@dataclass(slots=True)
class _Asking:
    """Whether a condition sends what it sees to a person; the same sight is evaluated once."""

    condition: Expression
    seen: dict[str, bool] = field(default_factory=dict)

    def __call__(self, shown: Json) -> bool:
        key = repr(shown)
        if key not in self.seen:
            if len(self.seen) >= _MEMOS:
                self.seen.clear()
            self.seen[key] = self.condition.test(shown) != Outcome(value=False)
        return self.seen[key]


def names_of(condition: Expression) -> tuple[tuple[str, ...], ...] | None:
    """The paths in the payload that a condition reads; None where it reads the whole, or more than the log keeps."""
    paths = dict.fromkeys(use.path[1:] if use.path[0] == PAYLOAD else use.path for use in condition.uses)
    return None if () in paths or len(paths) > MAX_NAMES else tuple(paths)


def shown_by(values: Mapping[str, Json], paths: Iterable[tuple[str, ...]]) -> Json | None:
    """The payload as far as the log's `values` tell it; None where one of them was cut short."""
    shown: dict[str, Json] = {}
    for path in sorted(paths, key=len):
        name = ".".join(path)
        if name not in values:
            continue
        if len(name) > MAX_SHOWN or _is_cut(values[name]):
            return None
        inner = shown
        for part in path[:-1]:
            held = inner.setdefault(part, {})
            if not isinstance(held, dict):
                return None
            inner = held
        inner[path[-1]] = values[name]
    return shown


def _is_cut(value: Json) -> bool:
    return isinstance(value, str) and (_CUT.fullmatch(value) is not None or len(value) >= MAX_SHOWN)
