"""What went wrong, as RFC 9457 `application/problem+json`: the one table from errors to HTTP statuses.

Every code has a paragraph on the page `/docs`, which is where the `type` of a problem leads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from signoff import errors
from signoff.definition.faults import DefinitionError
from signoff_api.answers import to_bytes

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MAX_FAULTS = 200
"""Faults of a definition that one answer lists."""

_log = structlog.get_logger("signoff.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One `code`: its status, its title, and what a caller should know of it."""

    code: str
    status: int
    title: str
    meaning: str


def _kinds(*rows: tuple[str, int, str, str]) -> Mapping[str, ProblemKind]:
    return {
        code: ProblemKind(code=code, status=status, title=title, meaning=meaning)
        for code, status, title, meaning in rows
    }


KINDS = _kinds(
    (
        "malformed",
        400,
        "The request can't be read",
        "The body is not JSON as RFC 8259 has it, names a key twice, holds NaN, nests deeper than 64 levels, or"
        " has a number or character that would not survive storage unchanged. Or a header can't be read.",
    ),
    (
        "unauthenticated",
        401,
        "An API key is needed",
        "Send `Authorization: Bearer KEY`. A key that is unknown, revoked or expired gets the same answer.",
    ),
    ("forbidden", 403, "You may not do this", "Your roles, or your part in this run, do not allow it."),
    (
        "not_human",
        403,
        "Only a person may decide",
        "The API key belongs to a service or an agent. Those start runs and read; they never decide.",
    ),
    (
        "four_eyes",
        403,
        "Who asks may not decide",
        "You started the run, and this gate wants a second pair of eyes. Another candidate has to decide.",
    ),
    (
        "not_candidate",
        403,
        "You are not a candidate",
        "The gate asked other people or groups. `candidates` of the human task names them.",
    ),
    (
        "no_delegation",
        403,
        "Nobody has lent you the right to",
        "You are not asked yourself, and the person in `on_behalf_of` has given you no delegation that holds now.",
    ),
    (
        "over_limit",
        403,
        "This is over your limit of authority",
        "The gate asks for authority, and no limit of yours admits the payload as you would let it go on. `fix` says"
        " who may approve it. Rejecting and asking for changes take no authority.",
    ),
    (
        "own_limit",
        403,
        "Nobody sets their own limit",
        "The limit of authority would apply to you, by your name or by a group that you are in. Another administrator"
        " has to set it.",
    ),
    (
        "old_version",
        403,
        "Only the newest version",
        "An older version may lack a gate that was added since, so only an admin, operator or author may start one.",
    ),
    (
        "scope",
        403,
        "The API key is not for this",
        "Its principal may do this, but the key was made for less: `detail` says which scope, or which workflows.",
    ),
    (
        "wrong_password",
        403,
        "The current password is another",
        "Only the account page answers so, to whoever changes their password.",
    ),
    (
        "not_found",
        404,
        "There is no such thing",
        "Nothing is at this address, or nothing that you may see; the two are not told apart.",
    ),
    (
        "not_linked",
        403,
        "The callback may not speak for this person",
        "A callback decides for people it was linked to, by the ids they have there: `signoff callback link`.",
    ),
    ("method_not_allowed", 405, "The method is not allowed here", "The header `Allow` lists those that are."),
    (
        "conflict",
        409,
        "Its state no longer allows this",
        "Somebody or something was first. Where a person decided, `winner` says who, what and when.",
    ),
    (
        "already_decided",
        409,
        "Somebody or something decided first",
        "The human task is completed, canceled or timed out. `winner` says who, what and when.",
    ),
    (
        "already_voted",
        409,
        "You have decided on this revision",
        "One person has one voice; another candidate has to give the next approval.",
    ),
    ("too_early", 409, "It is too early to decide", "The gate takes no decision before `not_before_at`."),
    ("not_in_bulk", 409, "Not in bulk", "This gate wants each of these decisions made on its own."),
    (
        "blind_gate_open",
        409,
        "A blind gate is still open",
        "The evidence pack would tell you what others said at a gate that you may still decide. It is there once the"
        " gate is decided, and now for those whom the gate does not ask.",
    ),
    (
        "link_spent",
        409,
        "The link is no longer good",
        "A link decides once and for a while. Sign in and open the human task in the inbox, or ask for another link.",
    ),
    ("claimed", 409, "Somebody else holds it", "Another person has claimed the human task; `winner` names them."),
    ("run_finished", 409, "The run has finished", "A run that has completed, failed or been canceled stays so."),
    ("run_not_failed", 409, "The run has not failed", "Only a failed run can be retried."),
    (
        "stale_view",
        412,
        "It has changed since you saw it",
        "The payload has a newer revision than the one you decided on. `current` has its number and its hash;"
        " read the human task again.",
    ),
    (
        "body_too_large",
        413,
        "The body is too large",
        "A request has at most 1 MiB. Store the data elsewhere and pass a reference.",
    ),
    (
        "unsupported_media_type",
        415,
        "The media type is not read here",
        "Send `Content-Type: application/json`; a workflow definition may also be `application/yaml`.",
    ),
    (
        "invalid",
        422,
        "The input is not what is asked for",
        "`errors` lists each bad field: `path` is a JSON pointer into the body, `?name` a query parameter, or the"
        " name of a header; `message` says what is wrong and `fix` what would be right.",
    ),
    (
        "too_large",
        422,
        "The value is too large",
        "An input or payload is bounded. Store the data elsewhere and pass a reference, such as a key or a URL.",
    ),
    (
        "definition",
        422,
        "The definition has faults",
        "`errors` lists every one: `code`, `where` it is, `what` is wrong and the `fix`. Nothing was registered.",
    ),
    (
        "idempotency_mismatch",
        422,
        "The Idempotency-Key was used for another request",
        "A key stands for one request, byte for byte. Use a fresh key for a new one.",
    ),
    (
        "precondition_required",
        428,
        "Say what you saw",
        "A decision names the payload it is about: `payload_sha256` in the body, or `If-Match` with the ETag of"
        " the human task.",
    ),
    (
        "internal",
        500,
        "Something went wrong on our side",
        "`reference` finds it in the server's log. Nothing was half done: every change is one transaction.",
    ),
    (
        "too_many_attempts",
        429,
        "A password was wrong too often",
        "Only the sign-in form of the pages answers so; the header `Retry-After` says after how many seconds to try.",
    ),
    (
        "unavailable",
        503,
        "The database or the broker is away",
        "Nothing was changed, unless the connection broke after the commit: repeat the request after the"
        " seconds in `Retry-After`; decisions and starts with an `Idempotency-Key` are safe to repeat.",
    ),
)

_STATUSES: tuple[tuple[type[errors.SignoffError], str], ...] = (
    (errors.MalformedInput, "malformed"),
    (errors.Unauthenticated, "unauthenticated"),
    (errors.Forbidden, "forbidden"),
    (errors.NotFound, "not_found"),
    (errors.Conflict, "conflict"),
    (errors.StaleView, "stale_view"),
    (errors.TooLarge, "too_large"),
    (errors.InvalidInput, "invalid"),
    (DefinitionError, "definition"),
    (errors.PreconditionRequired, "precondition_required"),
    (errors.TooManyAttempts, "too_many_attempts"),
    (errors.Unavailable, "unavailable"),
)
"""Which kind an error of this class is when its own code has no entry of its own."""

_BY_STATUS = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def kind_of(error: errors.SignoffError) -> ProblemKind:
    """The kind by the error's code, or by its class where the code is more special than the table."""
    default = next((code for cls, code in _STATUSES if isinstance(error, cls)), "internal")
    found = KINDS.get(error.code)
    # A code may refine the answer but not change its status: the class has the say.
    return found if found is not None and found.status == KINDS[default].status else KINDS[default]


def to_problem(error: errors.SignoffError) -> dict[str, Any]:
    """The members of the problem document; `errors`, `winner` and `current` where the error has them."""
    kind = kind_of(error)
    found: dict[str, Any] = _members(kind, error.detail, error.fix) | {"code": error.code}
    if isinstance(error, DefinitionError):
        faults = [fault.to_json() for fault in error.faults[:MAX_FAULTS]]
        count = "a fault" if len(error.faults) == 1 else f"{len(error.faults)} faults"
        found |= {"detail": f"the definition has {count}", "errors": faults}
    if isinstance(error, errors.InvalidInput) and error.errors:
        found["errors"] = [fault.to_json() for fault in error.errors]
    if isinstance(error, errors.Conflict) and error.winner is not None:
        found["winner"] = error.winner
    if isinstance(error, errors.StaleView):
        found["current"] = error.current
    return found


def _members(kind: ProblemKind, detail: str, fix: str | None = None) -> dict[str, Any]:
    members = {
        "type": f"/docs#problem-{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
    }
    return members | ({"fix": fix} if fix else {})


def unread(status: int) -> dict[str, Any]:
    """The members for a request that the server itself can't make out, and so never hands to the application."""
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _members(KINDS["internal"], "the request failed for a reason that is not yours")
    details = {
        HTTPStatus.REQUEST_URI_TOO_LONG: "the address is longer than this server reads",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "the headers are larger or more than this server reads",
    }
    # An unknown transfer coding is 501 by RFC 9112, but nothing on our side is out of order.
    status = status if status in details else HTTPStatus.BAD_REQUEST
    detail = details.get(HTTPStatus(status), "this is no HTTP request that can be read")
    return _members(KINDS["malformed"], detail) | {"status": int(status)}


def respond(members: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The response that carries a problem."""
    return Response(to_bytes(members), members["status"], dict(headers or {}), content_type=MEDIA_TYPE)


def install(app: Flask) -> None:
    """Answer every error of `app` with a problem, those of Flask and of bugs too."""
    app.register_error_handler(errors.SignoffError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def _refused(error: errors.SignoffError) -> Response:
    members = to_problem(error)
    if members["status"] == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _bug(error)
    headers = {}
    if members["status"] == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = _challenge()
    if members["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        _log.warning("unavailable", detail=error.detail, cause=repr(error.__cause__))
    return respond(members, headers)


def _challenge() -> str:
    realm = 'Bearer realm="signoff"'
    return f'{realm}, error="invalid_token"' if "Authorization" in request.headers else realm


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _bug(error)
    kind = KINDS[_BY_STATUS.get(status, "malformed")]
    details = {
        "not_found": "there is nothing at this address",
        "method_not_allowed": f"{request.method} is not allowed at this address",
        "body_too_large": "the body is larger than this server reads",
    }
    members = _members(kind, details.get(kind.code) or error.description or kind.title)
    allowed = error.valid_methods if isinstance(error, MethodNotAllowed) else None
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return respond(members | {"status": status}, headers)


def _bug(error: Exception) -> Response:
    # The trace goes to the log and never to the caller; the reference joins the two.
    _log.error("internal error", reference=g.get("request_id"), exc_info=error)
    detail = "the request failed for a reason that is not yours; tell us the reference"
    return respond(_members(KINDS["internal"], detail) | {"reference": g.get("request_id")})
