"""Timers fire once and never early: with two beats, with none for a while, and with beats that are killed."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos.client import Answers, Client
from tests.chaos.faults import Faults
from tests.chaos.flows_timed import (
    ATTEMPTS,
    BACKOFF,
    CLAIM_MINUTES,
    ESCALATION,
    FACTOR,
    GRACE,
    REMINDERS,
    REROUTED,
)
from tests.chaos.oracle import Judgement, check_database
from tests.chaos.plant import QUICK, Plant, Watched, wait_for
from tests.chaos.registry import Arena, Outcome, Size, Tier, scenario

SWEEP_SECONDS = 0.5
LATE_SECONDS = SWEEP_SECONDS + 5.0
SETTINGS = QUICK | {
    "SIGNOFF_MODULES": "tests.chaos.flows_timed",
    "SIGNOFF_SWEEP_SECONDS": str(SWEEP_SECONDS),
    "SIGNOFF_CLAIM_MINUTES": str(CLAIM_MINUTES),
    # Nobody is lost here; a lease that ended would be another timer.
    "SIGNOFF_LEASE_SECONDS": "20",
}
WAIT_MS = (2_200, 3_500)
"""Until the due time, by the seed; behind every rung of the ladder."""
WAVES = ("two beats", "no beat", "a killed beat")
ROUNDS = {Tier.CI: 1, Tier.LONG: 4}
STARTERS = 4
KILL_EVERY_SECONDS = 1.0
LONGEST_SECONDS = 4.0
PATIENCE_SECONDS = 60.0

KINDS = ("ladder", "silent", "rerouted", "graced", "claimed", "retried")
TIMERS = {"ladder": len(REMINDERS) + 2, "silent": 1, "rerouted": 1, "graced": 1, "claimed": 1, "retried": ATTEMPTS - 1}
PER_SET = sum(TIMERS.values())
_BASES = {"graced": "decision.recorded", "claimed": "human_task.claimed"}
_FIRED = ("gate.reminded", "gate.escalated", "gate.timed_out", "gate.decided", "human_task.released")
_RECENT = f"""
SELECT run_id::text, seq, type, extract(epoch FROM at)::float8 FROM events
WHERE at > clock_timestamp() - interval '30 seconds' AND type IN
    ('gate.opened', 'decision.recorded', 'human_task.claimed', '{"', '".join(_FIRED)}')
"""


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A run that waits for the clock. Moments are of the client's own clock."""

    item: int
    kind: str
    wait_ms: int
    run: str = ""
    asked_at: float = 0.0
    """Before whatever began the waiting was asked for."""
    not_before: float = 0.0
    """When there were beats again: before that nobody could be late."""

    def delays(self) -> list[tuple[str, float]]:
        """What has to come of it, in order: the event, and how long after its base, in seconds."""
        match self.kind:
            case "ladder":
                reminded = [("gate.reminded", after) for after in REMINDERS]
                due = self.wait_ms / 1000
                return [*reminded, ("gate.escalated", ESCALATION), ("gate.timed_out", due)]
            case "silent":
                return [("gate.reminded", self.wait_ms / 1000)]
            case "rerouted":
                return [("gate.escalated", REROUTED)]
            case "graced":
                return [("gate.decided", GRACE)]
            case "claimed":
                return [("human_task.released", CLAIM_MINUTES * 60)]
            case _:
                return []

    def fires(self) -> int:
        """How many events of `_FIRED` there are in the end: a timeout is decided in the same moment."""
        return len(self.delays()) + (self.kind == "ladder")


@dataclass(slots=True, kw_only=True)
class Seen:
    """What somebody who looked on has seen of the log, and when first, by the clock on the wall."""

    events: dict[tuple[str, int], tuple[str, float, float]] = field(default_factory=dict)
    """By run and number: type, moment, and when it was seen."""

    def of(self, run: str) -> list[tuple[str, float, float]]:
        return [found for (run_id, _), found in sorted(self.events.items()) if run_id == run]


@scenario(
    promise=8,
    title="timers fire once and never early",
    sizes={Tier.CI: Size(tries=150, faults=4), Tier.LONG: Size(tries=1_000, faults=16)},
)
def timers(arena: Arena) -> Outcome:
    """Reminders, escalations, reroutings, due times, releases after grace, claims that lapse, waits between attempts.

    `tries` are timers. Early and late are judged by the log, by when an onlooker first saw it, and for attempts by the
    receiver's clock; late without a beat is counted from the first sweep that is sent again.
    """
    plant = arena.plant(SETTINGS)
    _second_beat(plant)
    faults, answers = arena.faults(plant), Answers()
    sets = -(-arena.size.tries // PER_SET)
    runs: list[Waiting] = []
    with _looking_on(plant) as seen:
        waves = WAVES * ROUNDS[arena.tier]
        for at, wave in enumerate(waves):
            begun = _begin(arena, plant, answers, sets // len(waves) + (at < sets % len(waves)))
            runs += begun
            _play(wave, plant, faults, seen, begun)
            arena.say(f"{wave}: {sum(TIMERS[run.kind] for run in begun)} timers")
    found = Judgement(wrong=list(answers.bad))
    worst = max([*(_judge_run(run, seen, found) for run in runs), _judge_receiver(plant, runs, found)])
    check_database(plant, found)
    problems = []
    if faults.injected < arena.size.faults:
        problems.append(f"{faults.injected} faults happened, and {arena.size.faults} are asked for")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.counts.items()))
    return arena.outcome(
        found,
        tried=sum(TIMERS[run.kind] for run in runs),
        injected=faults.injected,
        worst=worst,
        problems=problems,
        details=f"{kinds}; worst recovery is the latest timer",
    )


# The waves ------------------------------------------------------------------------------------------------------------


def _second_beat(plant: Plant) -> None:
    if "beat-2" not in plant.processes:
        plant.another("beat-2", "beat")


def _play(wave: str, plant: Plant, faults: Faults, seen: Seen, runs: Sequence[Waiting]) -> None:
    """Let it happen to the timers of these runs, and return when all have fired, or should have long ago."""
    beats = plant.of_kind("beat")
    started = max(run.asked_at for run in runs)

    def all_fired() -> bool:
        counts = defaultdict(int)
        for (run, _), (kind, _, _) in list(seen.events.items()):
            counts[run] += kind in _FIRED
        retried = {run.item for run in runs if run.kind == "retried"}
        attempts = sum(effect.body["item"] in retried for effect in plant.ledger.effects())
        return attempts >= ATTEMPTS * len(retried) and all(counts[run.run] >= run.fires() for run in runs)

    match wave:
        case "two beats":
            wait_for(all_fired, seconds=PATIENCE_SECONDS)
            faults.counts[wave] += all(beat.alive for beat in beats)
        case "no beat":
            for beat in beats:
                beat.held = True
                beat.kill()
            wait_for(lambda: time.time() > started + LONGEST_SECONDS, seconds=PATIENCE_SECONDS)
            faults.counts[wave] += not any(beat.alive for beat in beats)
            back = _back(faults, beats)
            for run in runs:
                run.not_before = back
            wait_for(all_fired, seconds=PATIENCE_SECONDS)
        case _:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not wait_for(all_fired, seconds=KILL_EVERY_SECONDS) and time.monotonic() < give_up:
                # One and the same; the other lives.
                faults.kill_one(beats[0], wave)


def _back(faults: Faults, beats: Sequence[Watched]) -> float:
    """Let there be beats again; the moment at which one has sent a sweep, for a machine may take long to start it."""
    point = "beat.after_publish"
    faults.arm(point, "sleep=0")
    for beat in beats:
        beat.held = False
    wait_for(lambda: faults.has_fired(point), seconds=PATIENCE_SECONDS)
    back = faults.fired(point) or time.time()
    faults.disarm(point)
    del faults.counts[point]
    return back


def _begin(arena: Arena, plant: Plant, answers: Answers, sets: int) -> list[Waiting]:
    """Start so many of each kind, and do for each what begins its waiting."""
    first = arena.stage.numbers(sets * len(KINDS))
    runs = [
        Waiting(item=first + at, kind=KINDS[at % len(KINDS)], wait_ms=arena.draw.randint(*WAIT_MS))
        for at in range(sets * len(KINDS))
    ]
    failed: list[Exception] = []

    def work(at: int) -> None:
        portal, ana = (Client(plant.api_port, plant.keys[name], answers) for name in ("portal", "ana"))
        try:
            for run in runs[at::STARTERS]:
                _begin_one(portal, ana, run)
        except Exception as error:  # noqa: BLE001  # told to whoever waits for this thread
            failed.append(error)
        finally:
            portal.close()
            ana.close()

    threads = [threading.Thread(target=work, args=(at,)) for at in range(STARTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return runs


def _begin_one(portal: Client, ana: Client, run: Waiting) -> None:
    body = {"workflow": run.kind, "input": {"item": run.item, "wait": f"{run.wait_ms}ms"}}
    run.asked_at = time.time()
    started = portal.ask("POST", "/runs", body, idempotency=f"timer-{run.item}")
    assert started.status in (200, 201), started
    run.run = started.json["id"]
    if run.kind not in _BASES:
        return
    (task,) = ana.ask("GET", f"/human-tasks?run={run.run}").json["items"]
    path = f"/human-tasks/{task['id']}"
    run.asked_at = time.time()
    if run.kind == "graced":
        said = {"decision": "approve", "payload_sha256": task["payload_sha256"]}
        reply = ana.ask("POST", f"{path}/decisions", said, idempotency=f"timer-{run.item}-said")
    else:
        reply = ana.ask("PUT", f"{path}/claim", {})
    assert reply.status in (200, 201), reply


@contextmanager
def _looking_on(plant: Plant) -> Iterator[Seen]:
    """Somebody who sees the log grow, and notes when."""
    seen, ending = Seen(), threading.Event()

    def look() -> None:
        while not ending.wait(0.1):
            rows: list[tuple[Any, ...]] = plant.rows(_RECENT)
            now = time.time()
            for run, seq, kind, at in rows:
                seen.events.setdefault((run, seq), (kind, at, now))

    onlooker = threading.Thread(target=look, name="onlooker", daemon=True)
    onlooker.start()
    try:
        yield seen
    finally:
        ending.set()
        onlooker.join()


# The judgement --------------------------------------------------------------------------------------------------------


def _judge_run(run: Waiting, seen: Seen, found: Judgement) -> float:
    """Each timer against its moment; answers the longest that one was late, in seconds."""
    if run.kind == "retried":
        return 0.0
    said = f"run {run.run} ({run.kind})"
    events = seen.of(run.run)
    base = next((at for kind, at, _ in events if kind == _BASES.get(run.kind, "gate.opened")), None)
    fired = [event for event in events if event[0] in _FIRED]
    if base is None:
        found.lost.append(f"{said}: nothing began")
        return 0.0
    late = 0.0
    for (wanted, delay), (kind, at, seen_at) in zip(run.delays(), fired, strict=False):
        if kind != wanted:
            found.wrong.append(f"{said}: {kind} and not {wanted} after {at - base:.3f} s")
        elif at < base + delay or min(at, seen_at) < run.asked_at + delay:
            found.wrong.append(f"{said}: {kind} came early, after {at - base:.3f} s and not {delay:g} s")
        else:
            late = max(late, _lateness(said, at - max(base + delay, run.not_before), found))
    if len(fired) < run.fires():
        found.lost.append(f"{said}: {run.fires() - len(fired)} timers never fired")
    if len(fired) > run.fires():
        found.doubled.append(f"{said}: {len(fired)} timers fired, and there are {run.fires()}")
    return late


def _judge_receiver(plant: Plant, runs: Sequence[Waiting], found: Judgement) -> float:
    """Attempts and what came after a release, by the receiver's clock."""
    attempts: dict[int, list[float]] = defaultdict(list)
    marks: dict[int, list[float]] = defaultdict(list)
    for effect in plant.ledger.effects():
        (attempts if effect.body["kind"] == "attempt" else marks)[effect.body["item"]].append(effect.at)
    late = 0.0
    for run in runs:
        said = f"run {run.run} ({run.kind})"
        times = attempts[run.item]
        wanted = ATTEMPTS if run.kind == "retried" else 0
        if len(times) != wanted:
            (found.lost if len(times) < wanted else found.doubled).append(f"{said}: {len(times)} attempts")
        for at, (before, after) in enumerate(pairwise(times)):
            delay = BACKOFF * FACTOR**at
            if after - before < delay:
                found.wrong.append(f"{said}: attempt {at + 2} came early, after {after - before:.3f} s")
            late = max(late, _lateness(said, after - max(before + delay, run.not_before), found))
        if len(marks[run.item]) != (run.kind == "graced"):
            found.wrong.append(f"{said}: told of {len(marks[run.item])} times")
        if any(at < run.asked_at + GRACE for at in marks[run.item]):
            found.wrong.append(f"{said}: went on before its grace had ended")
    if plant.ledger.repeated():
        found.doubled.append(f"{plant.ledger.repeated()} deliveries were repeated")
    return late


def _lateness(said: str, seconds: float, found: Judgement) -> float:
    if seconds > LATE_SECONDS:
        found.wrong.append(f"{said}: {seconds:.1f} s late, and {LATE_SECONDS:g} s are promised")
    return max(0.0, seconds)
