"""Every error Signoff raises on purpose, with a code that never changes its meaning.

Nothing here knows HTTP, the command line or a database: the API has one table from these classes to statuses, the
command line one to exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class SignoffError(Exception):
    """Something was refused.

    `code` is stable and machine-readable, `detail` says what happened, `fix` says what to do about it.
    """

    code = "error"

    def __init__(self, detail: str | None = None, *, code: str | None = None, fix: str | None = None) -> None:
        self.detail = detail or (self.__class__.__doc__ or "").strip().splitlines()[0]
        self.fix = fix
        if code is not None:
            self.code = code
        super().__init__(self.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One bad field of an input: where it is (`/amount` as a JSON pointer), what is wrong, and what would be right."""

    path: str
    message: str
    fix: str | None = None

    def to_json(self) -> dict[str, Any]:
        found = {"path": self.path, "message": self.message, "fix": self.fix}
        return {key: value for key, value in found.items() if value is not None}


class MalformedInput(SignoffError):
    """The bytes are not JSON that Signoff reads."""

    code = "malformed"


class InvalidInput(SignoffError):
    """The input does not have the form that is asked for."""

    code = "invalid"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        code: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.errors = tuple(errors)
        if detail is None and errors:
            detail = "; ".join(f"{error.path}: {error.message}" for error in errors[:5])
        super().__init__(detail, code=code, fix=fix)


class TooLarge(InvalidInput):
    """The value is larger than the limit; pass a reference to it (a key or a URL) instead."""

    code = "too_large"


class Unauthenticated(SignoffError):
    """The request names no valid API key."""

    code = "unauthenticated"


class TooManyAttempts(SignoffError):
    """A password was wrong too often; nothing is tried before the wait is over."""

    code = "too_many_attempts"

    def __init__(self, detail: str | None = None, *, wait_seconds: int) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(detail, fix=f"wait {wait_seconds} seconds, or sign in by a key or a link")


class Forbidden(SignoffError):
    """The caller may not do this."""

    code = "forbidden"


class NotFound(SignoffError):
    """There is no such object, or none that the caller may see."""

    code = "not_found"


class Conflict(SignoffError):
    """The object is no longer in a state that allows this."""

    code = "conflict"

    def __init__(
        self,
        detail: str | None = None,
        *,
        winner: Mapping[str, Any] | None = None,
        code: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.winner = dict(winner) if winner is not None else None
        super().__init__(detail, code=code, fix=fix)


class PreconditionRequired(SignoffError):
    """Say what you saw: `payload_sha256` in the body, or an `If-Match` header with the revision."""

    code = "precondition_required"


class StaleView(SignoffError):
    """The payload has changed since it was shown."""

    code = "stale_view"

    def __init__(self, detail: str | None = None, *, current: Mapping[str, Any]) -> None:
        self.current = dict(current)
        super().__init__(detail, fix="read the human task again and decide on what it shows now")


class Unavailable(SignoffError):
    """The database or the broker is not reachable."""

    code = "unavailable"


class LeaseLost(SignoffError):
    """The run went on without this worker, so what it has to say no longer counts."""

    code = "lease_lost"


class StepError(SignoffError):
    """A step failed for a reason the engine knows: a wrong type, a time limit, a missing function."""

    code = "step_error"


class ConfigurationError(SignoffError):
    """A setting is missing or wrong."""

    code = "configuration"
