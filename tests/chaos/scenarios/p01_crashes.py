"""A 2xx decision survives any crash: at every failpoint a process dies, alone or with its whole group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.plant import wait_for
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

BATCH = 4
"""Runs that are on their way when a process dies."""
PILE = 20
TRIES = 4
"""Batches until a point has to have been passed."""
PEOPLE = (Wish.APPROVE, Wish.EDIT, Wish.APPROVE, Wish.REJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A failpoint, and what has to go on for it to be passed."""

    name: str
    wishes: tuple[Wish, ...] = PEOPLE
    before: str | None = None
    """Another point, at which a process dies first: only then is there something to make good."""
    once: bool = False
    """Whether a batch is sure to pass it once only: several runs at once, or what has to be made good first."""
    piled: int = 0
    """So many runs pile up first, because it is passed by a worker that takes several together."""


POINTS = (
    Point(name="start.before_insert"),
    Point(name="start.before_commit"),
    Point(name="start.before_publish"),
    Point(name="start.before_response"),
    Point(name="decide.before_update"),
    Point(name="decide.before_commit"),
    Point(name="decide.before_write"),
    Point(name="decide.before_publish"),
    Point(name="decide.before_response"),
    Point(name="decide.after_response"),
    Point(name="cancel.before_commit", wishes=(Wish.CANCEL, Wish.APPROVE)),
    Point(name="cancel.before_response", wishes=(Wish.CANCEL, Wish.APPROVE)),
    Point(name="claim.before_update"),
    Point(name="claim.after_update"),
    Point(name="effect.before_call"),
    Point(name="effect.after_call"),
    Point(name="complete.before_update"),
    Point(name="complete.before_commit", wishes=(Wish.TIMEOUT, Wish.APPROVE), once=True),
    Point(name="complete.before_publish"),
    Point(name="complete.after_publish"),
    Point(name="together.after_claim", piled=PILE, once=True),
    Point(name="together.before_update", piled=PILE, once=True),
    Point(name="together.before_publish", piled=PILE, once=True),
    Point(name="together.after_publish", piled=PILE, once=True),
    Point(name="acknowledge.before"),
    Point(name="acknowledge.after"),
    Point(name="sweep.before"),
    Point(name="sweep.after"),
    Point(name="sweep.before_resend", before="start.before_publish", once=True),
    Point(name="sweep.before_expire_commit", before="effect.after_call", once=True),
    Point(name="sweep.after_expire_commit", before="effect.after_call", once=True),
    Point(name="sweep.before_wake_commit", wishes=(Wish.TIMEOUT, Wish.APPROVE), once=True),
    Point(name="sweep.after_wake_commit", wishes=(Wish.TIMEOUT, Wish.APPROVE), once=True),
    Point(name="beat.before_publish"),
    Point(name="beat.after_publish"),
)
FEW = ("start.before_response", "decide.before_publish", "effect.after_call", "complete.before_update")
"""Those of the tier `slice`: the response, the message, the effect, the step's commit."""
ACTIONS = ("kill", "kill_group")


ASKED = tuple(point for point in POINTS if point.name.partition(".")[0] in ("start", "decide", "cancel", "acknowledge"))
"""Where a client waits for an answer, and the broker for a word: half of all."""
WORKED = tuple(point for point in POINTS if point not in ASKED)


def _sizes(points: Sequence[Point]) -> dict[Tier, Size]:
    few = [point for point in points if point.name in FEW]
    return {
        Tier.SLICE: Size(tries=1, faults=len(few)),
        Tier.CI: Size(tries=2, faults=2 * len(points)),
        Tier.LONG: Size(tries=50, faults=50 * len(points)),
    }


@scenario(promise=1, title="a 2xx decision survives any crash of who asks", sizes=_sizes(ASKED))
def crashes_of_who_asks(arena: Arena) -> Outcome:
    """`tries` deaths at each point of starts, decisions, cancellations and acknowledgements."""
    return _crashes(arena, ASKED)


@scenario(promise=1, title="a 2xx decision survives any crash of who works", sizes=_sizes(WORKED))
def crashes_of_who_works(arena: Arena) -> Outcome:
    """The same at each point of claims, steps, sweeps and the beat."""
    return _crashes(arena, WORKED)


def _crashes(arena: Arena, all_points: Sequence[Point]) -> Outcome:
    """Deaths of the process and of its group by turns. Short intervals: this is no promise of how soon, beyond the
    60 s.
    """
    points = [point for point in all_points if arena.tier is not Tier.SLICE or point.name in FEW]
    plant = arena.plant(lose_every=LOSE_EVERY)
    faults, load = arena.faults(plant), arena.load(plant, window=PILE)
    problems: list[str] = []
    with load.running():
        for at, (point, action) in enumerate(_rounds(arena, points)):
            if not _die(arena, faults, load, point, action):
                problems.append(f"nobody died at {point.name} in {TRIES} batches")
            if at % 20 == 19:
                arena.say(f"{faults.injected} deaths, {len(load.ended)} runs ended")
    for point in points:
        if faults.counts[point.name] < arena.size.tries:
            problems.append(f"{point.name}: {faults.counts[point.name]} deaths, and {arena.size.tries} are asked for")
    return arena.judged([load], faults, tried=len(load.items), problems=problems)


def _rounds(arena: Arena, points: Sequence[Point]) -> Iterator[tuple[Point, str]]:
    for turn in range(arena.size.tries):
        for at, point in enumerate(arena.draw.sample(points, len(points))):
            yield point, ACTIONS[(turn + at) % 2]


def _die(arena: Arena, faults: Faults, load: Load, point: Point, action: str) -> bool:
    """Run batches until a process has died at this point, and wait until the batch is through."""
    for _ in range(TRIES):
        if point.before is not None:
            faults.arm(point.before, "kill")
        faults.arm(point.name, action, arena.draw.randint(1, 1 if point.once else 2))
        load.add(_batch(arena, point))
        if point.piled:
            faults.pile_up(point.piled // 2)
        load.wait()
        if point.before is not None:
            faults.fired(point.before)
            faults.disarm(point.before)
        # What nobody waits for, as a sweep, may come by a little later.
        died = None
        if wait_for(lambda: faults.has_fired(point.name), seconds=1.0):
            died = faults.fired(point.name)
        faults.disarm(point.name)
        if died is not None:
            load.note_recovery(max(0.0, time.time() - died))
            return True
    return False


def _batch(arena: Arena, point: Point) -> list[Item]:
    """As many items of the wishes that pass this point."""
    made: list[Item] = []
    for at in range(point.piled or BATCH):
        made += arena.items(1, shares={point.wishes[at % len(point.wishes)]: 1})
    return made
