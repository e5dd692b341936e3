"""The engine: every operation on runs and human tasks, each one transaction.

API, workers, command line and tests all go through this one class. Whoever asks is authorized by what holds in the
transaction that does what they ask: read in it, or held there against what was read before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from signoff.authority import ANY, Limit
from signoff.broker import BrokerPublisher, Publisher
from signoff.canonical import Json
from signoff.definition.graph import Graph
from signoff.engine import anchoring, authority, deciding, execution, human_tasks, links, runs, together, work
from signoff.engine import sweep as sweeping
from signoff.engine import verification as verifying
from signoff.engine.anchoring import Anchored
from signoff.engine.core import Core
from signoff.engine.deciding import BulkItem, BulkOutcome, Decided
from signoff.engine.execution import Claimed, GoOn
from signoff.engine.runs import Started
from signoff.engine.sweep import Swept
from signoff.engine.together import Recorded
from signoff.engine.verification import Verification
from signoff.identity import Principal
from signoff.ids import new_id
from signoff.model import Actor, Event, RunStatus
from signoff.settings import Settings
from signoff.store.database import Database
from signoff.store.delegations import Delegation, NewDelegation
from signoff.store.idempotency import IdempotencyKey
from signoff.store.task_links import TaskLink
from signoff.store.versions import Registered, VersionCache
from signoff.transitions.decisions import DecisionRequest
from signoff.transitions.steps import Failure


class Engine:
    """Operations on runs and human tasks. Safe to share between threads; build it after a fork, not before."""

    def __init__(self, *, database: Database, publisher: Publisher, settings: Settings) -> None:
        self.database = database
        self.publisher = publisher
        self.settings = settings
        self.core = Core(
            database=database,
            publisher=publisher,
            settings=settings,
            versions=VersionCache(),
            new_id=new_id,
        )

    def close(self) -> None:
        """Give all connections back."""
        self.publisher.close()
        self.database.close()

    def register(self, graph: Graph, *, by: Actor) -> Registered:
        """Store a graph as the next version of its workflow; the same content is the same version."""
        return runs.register(self.core, graph, by=by)

    def start(
        self,
        *,
        workflow: str,
        input: Json,
        requester: Principal,
        version: int | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency: IdempotencyKey | None = None,
        look: runs.Look | None = None,
    ) -> Started:
        """Start a run of the newest version, or of `version`; `look` reads what it is before any worker has come by.

        Raises Forbidden, NotFound, InvalidInput (with the path of each bad field) or TooLarge.
        """
        return runs.start(
            self.core,
            workflow=workflow,
            value=input,
            requester=requester,
            version=version,
            labels=labels or {},
            idempotency=idempotency,
            look=look,
        )

    def cancel(self, run_id: UUID, *, reason: str, by: Principal, look: runs.Look | None = None) -> None:
        """Cancel a run and its open human tasks. Raises Conflict when it has finished."""
        runs.cancel(self.core, run_id, reason=reason, by=by, look=look)

    def retry(
        self, run_id: UUID, *, from_step: str | None = None, by: Principal, look: runs.Look | None = None
    ) -> None:
        """Let a failed run go on from the failed step, or an earlier one. Raises Conflict when it has not failed."""
        runs.retry(self.core, run_id, from_step=from_step, by=by, look=look)

    def claim(self, human_task_id: UUID, *, by: Principal) -> None:
        """Take a human task for oneself, for a while; once more, and it lasts longer.

        Raises Conflict when another holds it.
        """
        human_tasks.claim(self.core, human_task_id, by=by)

    def keep_claim(self, human_task_id: UUID, *, by: Principal) -> bool:
        """Let one's own claim last longer; False when one has none any more. Nothing of it is in the log.

        Raises Forbidden for who is not (or no longer) asked, NotFound for who may not see it.
        """
        return human_tasks.keep_claim(self.core, human_task_id, by=by)

    def release(self, human_task_id: UUID, *, by: Principal) -> None:
        """Give a human task back."""
        human_tasks.release(self.core, human_task_id, by=by)

    def assign(self, human_task_id: UUID, *, assignee: str, by: Principal) -> None:
        """Hand a human task to a candidate. Raises InvalidInput when they are none."""
        human_tasks.assign(self.core, human_task_id, assignee=assignee, by=by)

    def comment(self, human_task_id: UUID, *, text: str, by: Principal) -> Event:
        """Add a comment; answers the event that holds it."""
        return human_tasks.comment(self.core, human_task_id, text=text, by=by)

    def decide(
        self,
        human_task_id: UUID,
        request: DecisionRequest,
        *,
        by: Principal,
        idempotency: IdempotencyKey | None = None,
        look: deciding.LookAtDecided | None = None,
    ) -> Decided:
        """Record one person's decision; where that satisfies the gate, the run goes on.

        `look` reads what became of it before the run goes on.

        Raises NotFound, Forbidden, PreconditionRequired, Conflict, StaleView, InvalidInput, in this order.
        """
        return deciding.decide(self.core, human_task_id, request, by=by, idempotency=idempotency, look=look)

    def withdraw(self, human_task_id: UUID, *, by: Principal) -> None:
        """Take back one's own decision while it is in grace. Raises Conflict when it is too late."""
        deciding.withdraw(self.core, human_task_id, by=by)

    def decide_in_bulk(
        self,
        *,
        decision: str,
        note: str | None,
        items: Sequence[BulkItem],
        by: Principal,
        reason: str | None = None,
        surface: str | None = None,
    ) -> BulkOutcome:
        """One decision on each of several human tasks; each stands or fails on its own."""
        return deciding.decide_in_bulk(
            self.core, decision=decision, note=note, items=items, by=by, reason=reason, surface=surface
        )

    def issue_task_link(self, human_task_id: UUID, person: str, *, lasts: timedelta | None = None) -> links.Issued:
        """Make a link by which this person decides on this human task, once; its token is seen this once.

        Raises NotFound, Forbidden when they may not decide on it, Conflict when it is over.
        """
        return links.issue(self.core, human_task_id, person, lasts=lasts)

    def task_link(self, human_task_id: UUID, person: str) -> str | None:
        """The same as an address to send to this person and nobody else; None where there is nothing to send.

        That is where they may not decide on it, it is over, or `SIGNOFF_PUBLIC_URL` is not set.
        """
        return links.task_link(self.core, human_task_id, person)

    def decide_by_link(self, link: TaskLink, request: DecisionRequest, *, by: Principal) -> Decided:
        """Decide as `decide` does and use the link up in the same transaction.

        Raises Conflict (code `link_spent`) when the link is no longer good, and what `decide` raises.
        """
        return links.decide_by_link(self.core, link, request, by=by)

    def set_limit(self, *, subject: str, limit: str, workflow: str = ANY, gate: str = ANY, by: Principal) -> Limit:
        """Let a limit of authority hold, and the one it supersedes end. Raises Forbidden, InvalidInput."""
        return authority.set_limit(
            self.database,
            self.core.versions,
            subject=subject,
            expression=limit,
            workflow=workflow,
            gate=gate,
            by=by,
        )

    def remove_limit(self, limit_id: UUID, *, by: Principal) -> Limit:
        """Let a limit of authority hold no more. Raises Forbidden, NotFound."""
        return authority.remove_limit(self.database, limit_id, by=by)

    def list_limits(self, *, subject: str | None = None, ended: bool = False, by: Principal) -> list[Limit]:
        """The limits of authority; with `ended` also those that hold no more. Raises Forbidden."""
        return authority.list_limits(self.database, subject=subject, ended=ended, by=by)

    def delegate(self, asked: NewDelegation, *, delegator: str | None = None, by: Principal) -> Delegation:
        """Let somebody decide in one's stead, or say that one is away; of others only admins may.

        Raises Forbidden, NotFound, InvalidInput, Conflict.
        """
        return work.delegate(self.core, asked, delegator=delegator, by=by)

    def end_delegation(self, delegation_id: UUID, *, by: Principal) -> Delegation:
        """End a delegation or an absence now. A decision made by it meanwhile comes first, or is refused."""
        return work.end_delegation(self.core, delegation_id, by=by)

    def list_delegations(self, *, of: str | None = None, ended: bool = False, by: Principal) -> list[Delegation]:
        """One's own, given and received; of somebody else, or of all (`*`), for who may see them."""
        return work.list_delegations(self.core, of=of, ended=ended, by=by)

    def snooze(self, human_task_id: UUID, *, until: datetime, by: Principal) -> None:
        """Put a human task off for oneself; nothing of it is in the log. Raises NotFound, Conflict, InvalidInput."""
        work.snooze(self.core, human_task_id, until=until, by=by)

    def unsnooze(self, human_task_id: UUID, *, by: Principal) -> None:
        """Bring back what one has put off."""
        work.unsnooze(self.core, human_task_id, by=by)

    def claim_run(self, run_id: UUID, *, epoch: int, worker: str) -> Claimed | None:
        """Take a queued run for a worker; None when the message was a duplicate or came too late."""
        return execution.claim(self.core, run_id, epoch=epoch, worker=worker)

    def arguments(self, claimed: Claimed, names: Iterable[str]) -> dict[str, Json]:
        """The run's input and earlier outputs, as far as the step asks for them by name."""
        return execution.arguments(self.core, claimed, names)

    def claim_waiting(self, queue: str, *, steps: Sequence[str], limit: int, worker: str) -> list[Claimed]:
        """Take more runs of a queue, those that stand at one of `steps`."""
        return together.claim_waiting(self.core, queue, steps=steps, limit=limit, worker=worker)

    def complete_together(self, done: Sequence[tuple[Claimed, Json]], *, worker: str, go_on: GoOn) -> Recorded:
        """Record the outputs of several runs' steps in one transaction."""
        return together.complete_together(self.core, done, worker=worker, go_on=go_on)

    def give_back_all(self, held: Sequence[Claimed]) -> None:
        """Hand back claimed runs whose steps have not begun."""
        together.give_back_all(self.core, held)

    def complete(self, claimed: Claimed, output: Json, *, worker: str, go_on: bool | GoOn) -> Claimed | None:
        """Record a step's output; answers the next step when the worker may go straight on with it."""
        return execution.complete(self.core, claimed, output, worker=worker, go_on=go_on)

    def fail(self, claimed: Claimed, failure: Failure) -> RunStatus:
        """Record a failed attempt: a retry is scheduled, or the run fails."""
        return execution.fail(self.core, claimed, failure)

    def give_back(self, claimed: Claimed) -> None:
        """Hand back a claimed run whose step has not begun."""
        execution.give_back(self.core, claimed)

    def renew(self, held: Sequence[tuple[UUID, int]]) -> set[UUID]:
        """Lengthen leases; answers which runs are still held."""
        return execution.renew(self.core, held)

    def let_go(self, mark: str) -> int:
        """End the leases of a worker that is cut off: all whose name ends with its mark. Answers how many."""
        return execution.let_go(self.core, mark)

    def sweep(self) -> Swept:
        """See to everything that is due."""
        return sweeping.sweep(self.core)

    def verify(self, run_id: UUID | None = None, *, noted: str | None = None) -> Verification:
        """Recompute the hash chain and the head of one run, or of all, and ask the anchors.

        `noted` is the hash of an anchor that has to be there.
        """
        return verifying.verify(self.core, run_id, noted=noted)

    def anchor(self, *, begin: bool = False) -> Anchored:
        """Sign where every log stands, into the file of anchors; with `begin` the file is made.

        Raises ConfigurationError, Conflict when the file is not as it was left, Unavailable.
        """
        return anchoring.anchor(self.database, self.settings, begin=begin)


def build_engine(settings: Settings, *, pool_size: int | None = None, by_keys: bool = False) -> Engine:
    """The engine of one process, from its settings. Connects to nothing yet. `by_keys` as `create_engine` has it."""
    database = Database.connect(
        settings.require_database_url(),
        pool_size=pool_size or settings.pool_size,
        pool_timeout_seconds=settings.pool_timeout_seconds,
        statement_timeout_seconds=settings.statement_timeout_seconds,
        by_keys=by_keys,
    )
    return Engine(database=database, publisher=BrokerPublisher(settings.require_broker_url()), settings=settings)
