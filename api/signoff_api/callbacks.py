"""Callbacks: what a person decided elsewhere, posted and signed by a program that may speak for them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

from flask import Response, g, request
from pydantic import Field, StringConstraints

from signoff.canonical import canonical
from signoff.engine import DecisionRequest
from signoff.errors import Forbidden, Unauthenticated
from signoff.identity import Authentication
from signoff.store.callbacks import MAX_EXTERNAL_ID, Caller, find_caller, person_for, speaks_for
from signoff.store.database import Cursor
from signoff.store.idempotency import IdempotencyKey
from signoff.webhooks.signing import TOLERANCE_SECONDS, verified
from signoff_api import answer_models
from signoff_api.context import Context, Wiring, wiring
from signoff_api.decisions import answer_decision
from signoff_api.promises import ETAG, REPLAYED
from signoff_api.request_models import MAX_NOTE, Id, Json, Name, Request, Sha256, Text
from signoff_api.requests import JSON, check_media_type, parse_body, read_bytes
from signoff_api.routing import Answer, Header, Routes

SURFACE = "callback"

routes = Routes(tag="callbacks", description="Decisions that were made elsewhere, signed by Standard Webhooks.")

_HEADERS = (
    Header(
        name="webhook-id",
        description="The message's own id. When it comes again, it gets the first answer and happens once.",
        schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-\-/-~]+$"},
    ),
    Header(
        name="webhook-timestamp",
        description=f"Seconds since 1970, at most {TOLERANCE_SECONDS} off.",
        schema={"type": "string", "pattern": "^[1-9][0-9]{0,11}$"},
    ),
)


class CallbackDecision(Request):
    """What somebody decided there. `person` is the id they have there, which has to be linked to a person here."""

    human_task_id: Id
    person: Annotated[
        str, StringConstraints(strict=True, min_length=1, max_length=MAX_EXTERNAL_ID), Field(description="Their id.")
    ]
    decision: Annotated[Name, Field(description="One of the human task's `options`.")]
    payload_sha256: Annotated[Sha256, Field(description="The payload they were shown.")]
    note: Annotated[Text | None, Field(max_length=MAX_NOTE)] = None
    reason: Annotated[Text | None, Field(max_length=200)] = None
    patch: Annotated[Json, Field(description="A JSON merge patch (RFC 7396) on the payload.")] = None


@routes.route(
    "POST",
    "/callbacks/{token}",
    answers={
        201: Answer(description="Recorded.", model=answer_models.Decided, headers=(ETAG,)),
        200: Answer(description="It stood already.", model=answer_models.Decided, headers=(ETAG, REPLAYED)),
    },
    problems=(403, 404, 409, 412),
    headers=_HEADERS,
    signed_body=CallbackDecision,
)
def decide_by_callback(token: str) -> Response:
    """Decide as a person who decided elsewhere.

    Authorized as that person: a callback may do nothing that they may not. A token that is not known, a signature that
    is wrong and a time that is off are one answer, 401.
    """
    parts = wiring()
    data = read_bytes(request, parts.settings.max_request_bytes)
    caller, message_id = _signed_by(parts, token, data)
    check_media_type(request, (JSON,))
    body = parse_body(CallbackDecision, data, max_bytes=parts.settings.max_request_bytes)
    person = person_for(parts.engine.database, caller.id, body.person)
    if person is None:
        raise _not_linked()
    g.principal = person.name
    person = replace(person, authentication=Authentication(method="callback", id=str(caller.id)))
    said = DecisionRequest(**body.model_dump(exclude={"human_task_id", "person"}), surface=SURFACE)
    print_of = hashlib.sha256(canonical(body.model_dump(mode="json"))).hexdigest()
    # The ids are the sender's: one that comes again for somebody else is another message under the same id.
    key = IdempotencyKey(key=message_id, fingerprint=print_of, scope=f"callback {caller.id}")
    context = Context(engine=parts.engine, settings=parts.settings, principal=person)

    def check(cursor: Cursor) -> None:
        # It may have been told otherwise since.
        if not speaks_for(cursor, caller.id, body.person, person.id):
            raise _not_linked()

    return answer_decision(context, body.human_task_id, said, key, check=check)


def _not_linked() -> Forbidden:
    return Forbidden("this callback may not speak for this person", code="not_linked")


def _signed_by(parts: Wiring, token: str, data: bytes) -> tuple[Caller, str]:
    """Who signed this body, and the message's id. Raises Unauthenticated, whatever is wrong about it."""
    caller = find_caller(parts.engine.database, token)
    given = {name.lower(): value for name, value in request.headers.items()}
    message_id = verified(given, data, caller.secrets if caller else (), now=caller.now if caller else 0.0)
    if caller is None or message_id is None:
        raise Unauthenticated(
            "there is no such callback, or this is not signed by it just now",
            fix="see that address, secret and clock are right, and sign the bytes that are sent",
        )
    return caller, message_id
