"""Audit: the evidence pack of a run, and the verification of the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

from flask import Response

from signoff.authorization import Action, authorize, authorize_list
from signoff.engine import Engine
from signoff.engine.anchoring import proofs
from signoff.errors import Conflict, NotFound
from signoff.identity import Principal
from signoff.store.blindness import withheld_from
from signoff.store.database import Database
from signoff.store.queries_audit import AuditHead, audit_events, audit_head, workflow_of_run
from signoff_api import answer_models, request_models
from signoff_api.answers import MEDIA_TYPE, answer, to_bytes
from signoff_api.context import Context
from signoff_api.routing import Answer, Routes

routes = Routes(tag="audit", description="Evidence, and the proof that nobody changed it.")


@routes.route(
    "GET",
    "/runs/{run_id}/audit",
    answers={200: Answer(description="The evidence pack.", model=answer_models.AuditPack)},
    problems=(403, 404, 409),
)
def read_audit_pack(context: Context, run_id: UUID) -> Response:
    """Read everything that is stored of a run, to be verified offline."""
    may_audit(context.engine, run_id, context.principal)
    return Response(evidence_pack(context.engine, run_id, context.principal), content_type=MEDIA_TYPE)


@routes.route(
    "GET",
    "/audit/verification",
    answers={200: Answer(description="What was found.", model=answer_models.Verification)},
    problems=(403, 404),
)
def verify_audit_log(context: Context, query: request_models.VerificationQuery) -> Response:
    """Recompute the hash chain of one run, or of all, and hold them against the anchors.

    `anchored_at` is the moment up to which anchors vouch for the log, `unanchored` how many events are behind it.
    """
    if query.run is None:
        authorize(context.principal, Action.READ_AUDIT)
    else:
        may_audit(context.engine, query.run, context.principal)
    found = context.engine.verify(query.run)
    return answer(found.to_json())


def may_audit(engine: Engine, run_id: UUID, reader: Principal) -> None:
    """Return when the reader may read the evidence of this run. Raises Forbidden, and NotFound where they may not know.

    Who may audit everything is told of a run whose row is gone by the verification itself.
    """
    found = authorize_list(reader, Action.READ_AUDIT)
    if found is None:
        return
    with engine.database.autocommit() as cursor:
        workflow = workflow_of_run(cursor, run_id)
    if workflow not in found:
        raise NotFound("there is no such run, or none that you may see")


def evidence_pack(engine: Engine, run_id: UUID, reader: Principal) -> Iterator[bytes]:
    """The pack of a run a piece at a time: a log may be larger than memory should hold.

    Raises NotFound, and Conflict where it would tell the reader what they may not know yet, both at once.
    """
    head = audit_head(engine.database, engine.core.versions, run_id)
    _expect_nothing_withheld(head, reader)
    return _pieces(engine.database, replace(head, anchors=proofs(engine.settings, run_id, upto=head.seq)))


def _expect_nothing_withheld(head: AuditHead, reader: Principal) -> None:
    # A pack with less in it would be one that does not verify.
    if withheld_from(head.human_tasks, reader):
        raise Conflict(
            "a blind gate of this run is open and you may decide it: the pack would tell you what others said",
            code="blind_gate_open",
            fix="read it once the gate is decided, or let somebody read it whom the gate does not ask",
        )


def _pieces(database: Database, head: AuditHead) -> Iterator[bytes]:
    opening = to_bytes(head.to_json()).removesuffix(b"}") + b',"events":['
    for at, event in enumerate(audit_events(database, head)):
        yield (b"," if at else opening) + to_bytes(event.to_json())
    yield b"]}"
