"""A load with faults spread over it: what most scenarios do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.faults import Faults
from tests.chaos.load import Load
from tests.chaos.registry import Arena
from tests.chaos.workload import USUAL, Wish

SAID_EVERY = 10


def storm(
    arena: Arena, load: Load, faults: Faults, kinds: Sequence[str], *, shares: Mapping[Wish, int] = USUAL
) -> None:
    """All the runs of this size, and its faults one after the other among them, of the kinds by turns.

    Each comes when a share of the runs has ended, so that the seed says which fault meets which part of the load. Runs
    that are moving have to be seen to move on after it. Raises NoProgress.
    """
    tries, wanted = arena.size.tries, arena.size.faults
    load.add(arena.items(tries, shares=shares))
    for at in range(wanted):
        load.wait_ended((at + 1) * tries // (wanted + 2))
        with load.recovering():
            # One that meets nothing it could harm is followed by the next: there is something else that can.
            any(faults.do(kinds[(at + turn) % len(kinds)]) for turn in range(max(2, len(kinds))))
        if at % SAID_EVERY == SAID_EVERY - 1:
            arena.say(f"{faults.injected} faults, {len(load.ended)} of {tries} runs ended")
    load.wait()
