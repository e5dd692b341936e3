"""What a view is handed: the engine, the settings and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import Flask, current_app, g, request

from signoff.errors import Unauthenticated
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import authenticate
from signoff_api.recent import RecentCallers

if TYPE_CHECKING:
    from signoff.engine import Engine
    from signoff_api.docs import Documentation
    from signoff_api.metrics import Metrics
    from signoff_api.probes import Probe

_EXTENSION = "signoff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What one app is built from."""

    engine: Engine
    settings: Settings
    probes: Mapping[str, Probe]
    metrics: Metrics
    documentation: Documentation
    recent: RecentCallers = field(default_factory=RecentCallers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One authenticated request. `remembered` says that the caller was not looked up for it, but a moment before."""

    engine: Engine
    settings: Settings
    principal: Principal
    remembered: bool = False


def wire(app: Flask, wiring: Wiring) -> None:
    """Give `app` its engine; nothing of it lives in a module."""
    app.extensions[_EXTENSION] = wiring


def wiring() -> Wiring:
    """What the app of this request is built from."""
    found: Wiring = current_app.extensions[_EXTENSION]
    return found


def authenticated(*, remembered: bool = False) -> Context:
    """The context of this request; with `remembered` a key counts that was valid a moment ago.

    Raises Unauthenticated without a valid key.
    """
    parts = wiring()
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("the request has no API key", fix="send the header Authorization: Bearer KEY")
    key = key.strip()
    known = parts.recent.find(key) if remembered else None
    principal = known or authenticate(parts.engine.database, key)
    if principal is None:
        parts.recent.forget(key)
        raise Unauthenticated("the API key is not valid: unknown, revoked, expired or disabled")
    if known is None:
        parts.recent.keep(key, principal)
    g.principal = principal.name
    return Context(engine=parts.engine, settings=parts.settings, principal=principal, remembered=known is not None)
