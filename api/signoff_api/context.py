"""What a view is handed: the engine, the settings and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, current_app, g, request

from signoff.errors import Unauthenticated
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.identity import authenticate

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One authenticated request."""

    engine: Engine
    settings: Settings
    principal: Principal


def wire(app: Flask, wiring: Wiring) -> None:
    """Give `app` its engine; nothing of it lives in a module."""
    app.extensions[_EXTENSION] = wiring


def wiring() -> Wiring:
    """What the app of this request is built from."""
    found: Wiring = current_app.extensions[_EXTENSION]
    return found


def authenticated() -> Context:
    """The context of this request. Raises Unauthenticated without a valid key."""
    parts = wiring()
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("the request has no API key", fix="send the header Authorization: Bearer KEY")
    principal = authenticate(parts.engine.database, key.strip())
    if principal is None:
        raise Unauthenticated("the API key is not valid: unknown, revoked, expired or disabled")
    g.principal = principal.name
    return Context(engine=parts.engine, settings=parts.settings, principal=principal)
