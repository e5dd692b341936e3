"""The side of a peer: a loop that reads what to do and answers when it is done. Only the standard library.

A run is analyse, draft, a gate, and, after a decision from outside, send; or four steps without a gate. No step does
anything. Runs may be carried out in any process of the peer, so what they reach is counted in two files: one byte a
parked run, and one moment a run that is done.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PATIENCE_SECONDS = 180.0
_MOMENT = struct.Struct("<d")


def complaint(number: int) -> dict[str, Any]:
    """What a run is started with; every system gets the same."""
    return {
        "order_id": f"B-{number}",
        "amount": 640.0,
        "reply": "We are sorry that it arrived broken, and pay back what it cost within three working days.",
        "confidence": 0.9,
    }


class Tally:
    """Counts what happens in all processes of a peer. Appending so few bytes to a file is one step for the kernel."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._parked = os.open(folder / "parked", flags, 0o600)
        self._done = os.open(folder / "done", flags, 0o600)

    def parked(self) -> None:
        """A run stands at its gate."""
        os.write(self._parked, b".")

    def done(self, began: float) -> None:
        """A run has come to its last step, which began at this moment of the wall clock."""
        os.write(self._done, _MOMENT.pack(began))

    def parked_count(self) -> int:
        return os.fstat(self._parked).st_size

    def done_count(self) -> int:
        return os.fstat(self._done).st_size // _MOMENT.size

    def last_began(self) -> float:
        """When the last step of the run that was done last began."""
        data = os.pread(self._done, _MOMENT.size, (self.done_count() - 1) * _MOMENT.size)
        moment: float = _MOMENT.unpack(data)[0]
        return moment


class Peer(Protocol):
    """What each module makes of its system. Runs are named by what `park` answers."""

    def park(self, count: int) -> list[str]:
        """Start so many refunds at once; they need not be parked yet."""

    def decide(self, runs: list[str]) -> None:
        """Approve these from outside; they need not be done yet."""

    def plain(self, count: int) -> None:
        """Start so many runs of four steps; they need not be done yet."""

    def close(self) -> None:
        """Stop."""


def folder() -> Path:
    """Where the parent of this process keeps what all processes of the peer share."""
    return Path(os.environ["BENCH_FOLDER"])


def setting() -> str:
    """Which setting of the peer is measured."""
    return os.environ["BENCH_SETTING"]


def serve(make: Callable[[Tally], Peer]) -> None:
    """Read commands until there are no more. Whatever the peer prints goes to its log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tally = Tally(folder())
    peer = make(tally)
    parked: list[str] = []

    def answer(**said: object) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    answer(ready=True)
    for line in sys.stdin:
        said = json.loads(line)
        match said["do"]:
            case "park":
                parked += peer.park(said["count"])
                _wait(lambda: tally.parked_count() >= said["until"], "runs to be parked")  # noqa: B023
                answer()
            case "decide":
                share, parked = parked[: said["count"]], parked[said["count"] :]
                peer.decide(share)
                _wait(lambda: tally.done_count() >= said["until"], "decided runs to be done")  # noqa: B023
                answer()
            case "plain":
                peer.plain(said["count"])
                _wait(lambda: tally.done_count() >= said["until"], "runs to be done")  # noqa: B023
                answer()
            case "idle":
                answer(hops=[_hop(peer, tally) for _ in range(said["count"])])
    peer.close()


def _hop(peer: Peer, tally: Tally) -> list[float]:
    """Milliseconds from the request that decides, and from its answer, to the first line of the next step."""
    parked, done = tally.parked_count(), tally.done_count()
    run = peer.park(1)
    _wait(lambda: tally.parked_count() > parked, "a run to be parked", every=0.002)
    time.sleep(0.02)
    asked = time.time()
    peer.decide(run)
    answered = time.time()
    _wait(lambda: tally.done_count() > done, "a decided run to be done", every=0.005)
    began = tally.last_began()
    time.sleep(0.01)
    return [(began - asked) * 1000, max(0.0, began - answered) * 1000]


def _wait(condition: Callable[[], bool], what: str, every: float = 0.01) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
        time.sleep(every)
