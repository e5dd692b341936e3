"""A run as one would explain it on a whiteboard: the expectations that the real thing is compared with.

It shares no code with what it judges. Payloads are `{"amount": n}`, time is counted in minutes, and a workflow is a
line of steps and gates of which the first step, `draft`, is where changes are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.unit.transitions.graphs import CANCELED, FAILED, STANDARD, gate, graph, remind, step, take

from signoff.definition.graph import Graph, Node, RetryPolicy

MINUTE = 60_000
MAX_LOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """A step. Attempt n waits `n` minutes less one after it failed."""

    name: str
    irreversible: bool = False
    keyed: bool = True
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """A gate. Payloads of at most `threshold` pass; None reviews all of them."""

    name: str
    after: bool = False
    approvals: int = 1
    reject_after: int = 1
    threshold: int | None = None
    changes: bool = False
    due: int | None = None
    on_timeout: Literal["reject", "cancel", "fail"] | None = None
    remind: int | None = None
    grace: int = 0
    editable: bool = False


Spec = StepSpec | GateSpec


def build(specs: list[Spec]) -> Graph:
    """The graph that these specs describe."""
    nodes: list[Node] = []
    for spec, following in zip(specs, [*specs[1:], None], strict=True):
        onward = following.name if following else None
        if isinstance(spec, StepSpec):
            policy = RetryPolicy(
                attempts=spec.attempts, backoff_ms=MINUTE, factor=1.0, max_backoff_ms=MINUTE, jitter=0.0
            )
            takes = ("idempotency_key",) if spec.keyed else ()
            nodes.append(step(spec.name, onward, retry=policy, irreversible=spec.irreversible, takes=takes))
            continue
        silence = {"reject": take("reject"), "cancel": CANCELED, "fail": FAILED, None: None}[spec.on_timeout]
        nodes.append(
            gate(
                spec.name,
                onward,
                mode="after" if spec.after else "before",
                approvals=spec.approvals,
                reject_after=spec.reject_after,
                review_if=None if spec.threshold is None else f"amount > {spec.threshold}",
                options=STANDARD if spec.changes else STANDARD[:2],
                changes_to="draft" if spec.changes else None,
                due=None if spec.due is None else spec.due * MINUTE,
                on_timeout=silence,
                ladder=() if spec.remind is None else (remind(spec.remind * MINUTE),),
                grace_ms=spec.grace * MINUTE,
                editable=("amount",) if spec.editable else (),
            )
        )
    return graph(*nodes, name="random")


@dataclass(slots=True)
class Asked:
    """A human task: who said what of what it shows now."""

    spec: GateSpec
    amount: int
    since: int
    state: str = "open"
    revision: int = 1
    votes: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    outcome: str | None = None
    pending: str | None = None
    release_at: int | None = None
    reminded: bool = False
    overdue: bool = False

    def enough(self, option: str) -> bool:
        said = [vote for vote, _ in self.votes.values()].count(option)
        return said >= {"approve": self.spec.approvals, "reject": self.spec.reject_after}.get(option, 1)


class Refused(Exception):
    """What was tried is not possible; `why` is the kind of the refusal."""

    def __init__(self, why: Literal["conflict", "invalid"]) -> None:
        self.why = why
        super().__init__(why)


class Reference:
    """One run by the book."""

    def __init__(self, specs: list[Spec], amount: int) -> None:
        self.specs = specs
        self.names = [spec.name for spec in specs]
        self.now = 0
        self.at = 0
        self.amount: int | None = amount
        self.status = "queued"
        self.outcome: str | None = None
        self.error: str | None = None
        self.attempt = 1
        self.lost = 0
        self.retry_at: int | None = None
        self.tasks: list[Asked] = []
        self.received: dict[int, int | None] = {}
        self.done: set[int] = set()
        self.stale: set[int] = set()
        self._enter()

    @property
    def step(self) -> StepSpec:
        spec = self.specs[self.at]
        assert isinstance(spec, StepSpec)
        return spec

    @property
    def working(self) -> bool:
        """Whether a worker may take the run now."""
        return self.status == "queued"

    # What workers say ---------------------------------------------------------------------------------------------

    def complete(self, amount: int) -> None:
        self.amount = amount
        if self.step.irreversible:
            self.done.add(self.at)
        self._go(self.at + 1)

    def fail(self, *, retryable: bool) -> None:
        if retryable and self.attempt < self.step.attempts:
            self.attempt += 1
            self.status, self.retry_at = "retrying", self.now + 1
        else:
            self.status, self.error = "failed", "step_raised"

    def lose_worker(self) -> None:
        if self.step.irreversible and not self.step.keyed:
            self.status, self.error = "failed", "outcome_unknown"
        elif self.lost + 1 >= MAX_LOST:
            self.status, self.error = "failed", "worker_lost"
        else:
            self.lost += 1

    # What people say ----------------------------------------------------------------------------------------------

    def decide(self, task: Asked, who: str, option: str, edit: int | None) -> None:
        if task.state != "open" or task.pending or who in task.votes:
            raise Refused("conflict")
        if option == "request_changes" and not task.spec.changes:
            raise Refused("invalid")
        if edit is not None and (option != "approve" or not task.spec.editable):
            raise Refused("invalid")
        edited = edit is not None and edit != task.amount
        if edited and task.spec.approvals > 1:
            task.revision += 1
            task.amount = edit
            task.votes = {who: ("approve", None)}
            if not task.spec.after:
                self.amount = self.received[self.at] = edit
            return
        task.votes[who] = (option, edit)
        if task.enough(option):
            if task.spec.grace:
                task.pending, task.release_at = option, self.now + task.spec.grace
            else:
                self._conclude(task, option, "completed")

    def withdraw(self, task: Asked, who: str) -> None:
        if task.state != "open" or who not in task.votes:
            raise Refused("conflict")
        option, _ = task.votes.pop(who)
        if option == task.pending:
            task.pending = task.release_at = None

    def cancel(self) -> None:
        if self.status in ("completed", "failed", "canceled"):
            raise Refused("conflict")
        self._cancel("canceled")

    def retry(self, name: str | None) -> None:
        if self.status != "failed":
            raise Refused("conflict")
        at = self.at if name is None else self.names.index(name)
        if at != self.at:
            if at not in self.received:
                raise Refused("invalid")
            if at in self.stale or self.done & set(self._until_gate(at)):
                raise Refused("conflict")
            self.amount = self.received[at]
        kept = self.outcome if at == self.at and isinstance(self.specs[at], StepSpec) else None
        self.error, self.outcome = None, kept
        self._go(at)

    # What time does ------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Everything that has come due by now."""
        if self.status == "retrying" and self.retry_at is not None and self.retry_at <= self.now:
            self.status, self.retry_at = "queued", None
        for task in self.tasks:
            if task.state == "open":
                self._wake(task)

    def _wake(self, task: Asked) -> None:
        spec = task.spec
        if task.pending:
            if task.release_at is not None and task.release_at <= self.now:
                self._conclude(task, task.pending, "completed")
            return
        late = spec.due is not None and task.since + spec.due <= self.now
        if (
            spec.remind is not None
            and (spec.due is None or spec.remind < spec.due)
            and task.since + spec.remind <= self.now
        ):
            task.reminded = True
        if not late or task.overdue:
            return
        match spec.on_timeout:
            case None:
                task.overdue = True
            case "reject":
                self._conclude(task, "reject", "timed_out")
            case other:
                self._silence(task, other)

    def _silence(self, task: Asked, word: str) -> None:
        task.state, task.outcome = "timed_out", "timed_out"
        if task.spec.after:
            return
        self.outcome = "timed_out"
        if word == "cancel":
            self._cancel("timed_out")
        else:
            self.status, self.error = "failed", "gate_timed_out"

    def _conclude(self, task: Asked, option: str, state: str) -> None:
        edits = [edit for vote, edit in task.votes.values() if vote == option and edit is not None]
        task.state, task.pending, task.release_at = state, None, None
        task.outcome = {"approve": "approved", "reject": "rejected", "request_changes": "changes_requested"}[option]
        if task.spec.after:
            return
        self.outcome = task.outcome
        match option:
            case "approve":
                self.amount = edits[0] if edits else task.amount
                self._allow(self.at + 1)
                self._go(self.at + 1)
            case "reject":
                self.status, self.amount = "completed", None
            case _:
                # Whoever sends the run back wants everything on the way done once more.
                self._allow(0)
                self.amount = self.received[0]
                self._go(0)

    def _cancel(self, outcome: str) -> None:
        self.status, self.outcome, self.retry_at = "canceled", outcome, None
        for task in self.tasks:
            if task.state == "open":
                task.state, task.pending, task.release_at = "canceled", None, None

    # Along the line -------------------------------------------------------------------------------------------------

    def _go(self, at: int) -> None:
        self.at, self.attempt, self.lost, self.retry_at = at, 1, 0, None
        self._enter()

    def _enter(self) -> None:
        while self.at < len(self.specs):
            spec = self.specs[self.at]
            self.received[self.at] = self.amount
            self.stale.discard(self.at)
            if isinstance(spec, StepSpec):
                self.status = "queued"
                return
            if self._asks(spec):
                self.status = "waiting"
                return
            self.at += 1
        self.at = len(self.specs) - 1
        self.status, self.outcome = "completed", self.outcome or "completed"

    def _asks(self, spec: GateSpec) -> bool:
        """Open, reopen or pass the gate the run has come to; whether it stops here."""
        assert self.amount is not None
        if not spec.after:
            # What lies behind it was allowed by an answer that is none any more.
            self.stale.update(self._behind(self.at + 1))
        earlier = [task for task in self.tasks if task.spec is spec]
        if earlier and earlier[-1].outcome == "changes_requested":
            task = earlier[-1]
            task.state, task.outcome, task.votes, task.amount = "open", None, {}, self.amount
            task.revision += 1
            task.since, task.reminded, task.overdue = self.now, False, False
            return True
        if spec.threshold is not None and self.amount <= spec.threshold:
            if not spec.after:
                self.outcome = "approved"
                self._allow(self.at + 1)
            return False
        self.tasks.append(Asked(spec, self.amount, self.now))
        return not spec.after

    def _allow(self, at: int) -> None:
        self.done -= set(self._until_gate(at))

    def _until_gate(self, at: int) -> list[int]:
        return [index for index in self._behind(at) if isinstance(self.specs[index], StepSpec)]

    def _behind(self, at: int) -> list[int]:
        """What comes from `at` on with no gate in front that stops the run."""
        out = []
        for index in range(at, len(self.specs)):
            spec = self.specs[index]
            if isinstance(spec, GateSpec) and not spec.after:
                break
            out.append(index)
        return out
