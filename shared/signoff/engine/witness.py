"""What the anchors say of each log, held against the log as it is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from uuid import UUID

from signoff.anchors import tree
from signoff.anchors.file import AnchorLog
from signoff.anchors.form import Signed
from signoff.model import format_time
from signoff.store.rows import StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One anchor's word on one run: its last event was then number `seq`, of this hash."""

    number: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What an anchor has against a run's log."""

    run_id: UUID
    seq: int | None
    problem: str


@dataclass(slots=True, kw_only=True)
class Witness:
    """The anchors as one verification asks them, run by run in the order of ids.

    `unanchored` counts the events so far that no anchor names.
    """

    log: AnchorLog
    unanchored: int = 0
    _rest: Iterator[tuple[bytes, int]] = field(default_factory=lambda: iter(()))
    _next: tuple[bytes, int] | None = None

    @classmethod
    def of(cls, log: AnchorLog) -> Witness:
        """A witness at the first run."""
        # Leaves are sorted in each anchor, so only one of each is looked at, however many runs there are.
        rest = merge(*(_numbered(signed) for signed in log.anchors))
        return cls(log=log, _rest=rest, _next=next(rest, None))

    @property
    def anchored_at(self) -> datetime:
        return self.log.anchors[-1].anchor.at

    def claims_upto(self, last: UUID | None) -> dict[UUID, list[Claim]]:
        """The claims on all runs up to `last`, or on all that are left, behind those that were asked for before."""
        claims: defaultdict[UUID, list[Claim]] = defaultdict(list)
        while self._next is not None and (last is None or self._next[0][:16] <= last.bytes):
            run_id, seq, event_hash = tree.unleaf(self._next[0])
            claims[run_id].append(Claim(number=self._next[1], seq=seq, hash=event_hash))
            self._next = next(self._rest, None)
        for each in claims.values():
            each.sort(key=lambda claim: claim.number)
        return dict(claims)

    def claims_on(self, run_id: UUID) -> dict[UUID, list[Claim]]:
        """The claims on one run."""
        claims = []
        for signed in self.log.anchors:
            index = tree.index_of(signed.leaves, run_id)
            if index is not None:
                at = index * tree.LEAF_BYTES
                _, seq, event_hash = tree.unleaf(signed.leaves[at : at + tree.LEAF_BYTES])
                claims.append(Claim(number=signed.anchor.number, seq=seq, hash=event_hash))
        return {run_id: claims} if claims else {}

    def objection(self, run_id: UUID, stored: Sequence[StoredEvent], claims: Sequence[Claim]) -> Objection | None:
        """What does not agree between a run's log, whose own chain holds, and the anchors' claims on it."""
        known = 0
        for claim in claims:
            if claim.seq > len(stored):
                return Objection(
                    run_id=run_id, seq=claim.seq, problem=f"the event is gone that {self._named(claim.number)} names"
                )
            if stored[claim.seq - 1].hash != claim.hash:
                problem = f"it is not the event that {self._named(claim.number)} names: the log was written anew"
                return Objection(run_id=run_id, seq=claim.seq, problem=problem)
            if claim.seq > known:
                late = self._late(run_id, stored[known], claim.number - 1)
                if late is not None:
                    return late
                known = claim.seq
        if len(stored) > known:
            self.unanchored += len(stored) - known
            return self._late(run_id, stored[known], len(self.log.anchors))
        return None

    def missing(self, claims: Mapping[UUID, Sequence[Claim]], seen: Collection[UUID]) -> Objection | None:
        """The first run that an anchor names and that is not there."""
        for run_id, of_run in claims.items():
            if run_id not in seen:
                number = of_run[-1].number
                return Objection(run_id=run_id, seq=None, problem=f"the run is gone that {self._named(number)} names")
        return None

    def _late(self, run_id: UUID, stored: StoredEvent, number: int) -> Objection | None:
        """That an event has a moment before an anchor which does not name it: all events until then were named."""
        if number == 0 or stored.event.at >= self.log.anchors[number - 1].anchor.settled:
            return None
        problem = f"it says it is older than {self._named(number)}, which does not name it: it was put in later"
        return Objection(run_id=run_id, seq=stored.event.seq, problem=problem)

    def _named(self, number: int) -> str:
        return f"anchor {number} of {format_time(self.log.anchors[number - 1].anchor.at)}"


def _numbered(signed: Signed) -> Iterator[tuple[bytes, int]]:
    number = signed.anchor.number
    return ((leaf, number) for leaf in tree.leaves_of(signed.leaves))
