"""The imperative shell: read, admit, transition and append in one transaction, then send a hint."""

from signoff.engine.deciding import BulkItem, BulkOutcome, BulkResult, Decided
from signoff.engine.engine import Engine, build_engine
from signoff.engine.execution import Claimed, GoOn
from signoff.engine.runs import Started
from signoff.engine.sweep import Swept
from signoff.engine.together import Recorded
from signoff.engine.verification import Verification
from signoff.store.idempotency import IdempotencyKey
from signoff.store.versions import Registered
from signoff.transitions.decisions import DecisionRequest
from signoff.transitions.steps import Failure

__all__ = [
    "BulkItem",
    "BulkOutcome",
    "BulkResult",
    "Claimed",
    "Decided",
    "DecisionRequest",
    "Engine",
    "Failure",
    "GoOn",
    "IdempotencyKey",
    "Recorded",
    "Registered",
    "Started",
    "Swept",
    "Verification",
    "build_engine",
]
