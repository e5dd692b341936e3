"""The targets P1 to P9, and what one run of the tool says of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.bench.figures import Found, Row
from tests.bench.growth import BESIDE_SMALL
from tests.bench.scaling import SCALED

LARGE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One number beside what it has to be: at least `target` with `more`, at most without. None: not measured."""

    what: str
    unit: str
    value: float | None
    target: float | None
    versus: str
    more: bool = False

    @property
    def met(self) -> bool | None:
        if self.value is None or self.target is None:
            return None
        return self.value >= self.target if self.more else self.value <= self.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target: its first bound is what it is known by, the others have to hold as well."""

    name: str
    bounds: list[Bound] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        said = [bound.met for bound in self.bounds]
        return False if False in said else None if None in said else True

    def to_json(self) -> dict[str, Any]:
        told = [
            {
                "what": bound.what,
                "unit": bound.unit,
                "value": bound.value,
                "target": bound.target,
                "met": bound.met,
                "versus": bound.versus,
            }
            for bound in self.bounds
        ]
        first = told[0]
        return first | {"met": self.met} | ({"also": told[1:]} if len(told) > 1 else {})


def targets(found: Found) -> list[Target]:
    """All of them, those that were not measured too."""
    return [
        Target(name="P1", bounds=[_steps(found)]),
        Target(
            name="P2", bounds=_peers(found, "park", "runs parked", {"restate": 1, "dbos": 5, "langgraph default": 5})
        ),
        Target(name="P3", bounds=_peers(found, "decide", "runs decided", {"restate": 2, "dbos": 3, "langgraph": 1.5})),
        Target(name="P4", bounds=[_at_most(found, "cpu", "CPU of a refund, all processes", "ms", 6.0)]),
        Target(name="P5", bounds=_idle(found)),
        Target(name="P6", bounds=[_at_most(found, "load p99", "decision to step at twice the load, p99", "ms", 50.0)]),
        Target(name="P7", bounds=_parked(found)),
        Target(
            name="P8",
            bounds=[
                _at_most(found, "startup", "signoff dev to the first decided run", "s", 4.0),
                _at_most(found, "second startup", "the same, second start", "s", 2.5),
            ],
        ),
        Target(name="P9", bounds=[_scale(found)]),
    ]


def _steps(found: Found) -> Bound:
    ours = found.of("signoff", "steps", workers=2)
    chains = [found.of("chain", "steps", setting=f"default, {pool}", workers=2) for pool in ("prefork", "threads")]
    best = max((row for row in chains if row), key=lambda row: row.median, default=None)
    return Bound(
        what="durable steps a second, as a multiple of a bare default chain's, both in their better pool",
        unit="×",
        value=ours.median / best.median if ours and best else None,
        target=5.0,
        versus=f"bare chain, {best.setting}, {best.median:,.0f} steps/s" if best else "not measured",
        more=True,
    )


def _peers(found: Found, measure: str, what: str, factors: dict[str, float]) -> list[Bound]:
    ours = found.of("signoff", measure)
    bounds = []
    for name, factor in factors.items():
        who, _, setting = name.partition(" ")
        theirs = found.of(who, measure, setting=setting or None)
        bounds.append(
            Bound(
                what=f"{what} a second, at their best numbers of processes",
                unit="runs/s",
                value=ours.median if ours else None,
                target=theirs.median * factor if theirs else None,
                versus=f"{factor:g} × {name}" + (f" at {theirs.median:,.0f} runs/s" if theirs else ", not measured"),
                more=True,
            )
        )
    # The one that asks for most comes first.
    return sorted(bounds, key=lambda bound: -(bound.target or 0.0))


def _at_most(found: Found, measure: str, what: str, unit: str, target: float) -> Bound:
    row = found.of("signoff", measure)
    return Bound(what=what, unit=unit, value=row.median if row else None, target=target, versus=_setting(row))


def _idle(found: Found) -> list[Bound]:
    hop = found.of("chain", "hop p50", setting="default, prefork", workers=2)
    p50 = _at_most(found, "answer p50", "decision answered to next step, idle, p50", "ms", 4.0)
    chain = Bound(
        what="the same beside one hop of a bare chain",
        unit="ms",
        value=p50.value,
        target=hop.median if hop else None,
        versus="bare chain, default, prefork",
    )
    return [p50, _at_most(found, "answer p95", "the same, p95", "ms", 10.0), chain]


def _parked(found: Found) -> list[Bound]:
    grown = {int(each["parked"]): each for each in found.growth}
    large = grown.get(LARGE)
    return [
        _at_most(found, "disk", "bytes on disk of a parked run", "bytes", 2048.0),
        _at_most(found, "memory", "bytes of memory of a parked run", "bytes", 512.0),
        Bound(
            what="processor of an idle stack with 1,000,000 parked",
            unit="% of a core",
            value=large["idle cpu"] if large else None,
            target=2.0,
            versus="worker, beat, API, broker and database",
        ),
        Bound(
            what="decision p50 with 1,000,000 parked, as a multiple of that with 1,000",
            unit="×",
            value=large[BESIDE_SMALL] if large else None,
            target=1.2,
            versus="the engine, no HTTP, in turns",
        ),
    ]


def _scale(found: Found) -> Bound:
    two = found.of(SCALED, "steps", workers=2)
    one = found.of(SCALED, "steps", setting=two.setting, workers=1) if two else None
    return Bound(
        what="steps a second of two workers on two cores, as a share of twice those of one on one",
        unit="×",
        value=two.median / (2 * one.median) if one and two else None,
        target=0.85,
        versus=f"{two.setting}, and all that they need on the same cores" if two else "not measured",
        more=True,
    )


def _setting(row: Row | None) -> str:
    return f"{row.setting}, {row.workers} processes" if row else "not measured"
