"""The blueprint of the pages: features, templates' helpers, and assets with names that change with their bytes."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, g, request
from markupsafe import Markup

from signoff.authorization import Action, may_list
from signoff.errors import NotFound
from signoff_api.context import wiring
from signoff_api.inbox import (
    account,
    audit,
    bulk,
    deciding,
    insights,
    lists,
    live,
    oidc,
    review,
    runs,
    sign_in,
    snoozing,
    task_links,
)
from signoff_api.inbox.differences import MISSING
from signoff_api.inbox.icons import icon
from signoff_api.inbox.pages import CSRF_FIELD, Pages, Visit, mount
from signoff_api.inbox.text import (
    duration,
    json_plain,
    json_text,
    json_unquoted,
    markdown,
    moment,
    shown_plain,
    visible,
)

STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"

assets = Pages()

FEATURES: tuple[Pages, ...] = (
    sign_in.pages,
    oidc.pages,
    account.pages,
    lists.pages,
    review.pages,
    deciding.pages,
    snoozing.pages,
    task_links.pages,
    bulk.pages,
    runs.pages,
    audit.pages,
    insights.pages,
    live.pages,
    assets,
)


def install(app: Flask) -> None:
    """Serve the pages from `app`, which has been wired. Raises ConfigurationError."""
    with app.app_context():
        oidc.install(app, wiring().settings)
    blueprint = Blueprint("inbox", __name__, template_folder="templates")
    mount(blueprint, *FEATURES)
    blueprint.add_app_template_filter(visible, "visible")
    blueprint.add_app_template_filter(shown_plain, "plain")
    blueprint.add_app_template_filter(markdown, "markdown")
    blueprint.add_app_template_filter(json_text, "json_text")
    blueprint.add_app_template_filter(json_plain, "json_plain")
    blueprint.add_app_template_filter(json_unquoted, "json_unquoted")
    blueprint.add_app_template_filter(moment, "moment")
    blueprint.add_app_template_filter(duration, "duration")
    blueprint.add_app_template_filter(places, "places")
    blueprint.add_app_template_test(lambda value: value is MISSING, "missing_value")
    for helper in (asset, csrf, here, icon):
        blueprint.add_app_template_global(helper, helper.__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.register_blueprint(blueprint)


@assets.route("GET", "/assets/{name}", public=True)
def read_asset(name: str) -> Response:
    """A file of the pages."""
    return _file(name)


@assets.route("GET", "/assets/vendor/{name}", public=True)
def read_vendored_asset(name: str) -> Response:
    """A file that others wrote."""
    return _file(f"vendor/{name}")


def asset(name: str) -> str:
    """The address of a file of the pages; it changes with the bytes, so that browsers may keep it for good."""
    return f"/assets/{name}?v={_known()[name].version}"


def csrf() -> Markup:
    """The hidden field of a form."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, g.csrf)


def here() -> str:
    """The page that is shown, to come back to."""
    return request.full_path.rstrip("?") if request.method == "GET" else "/inbox"


def places(visit: Visit) -> list[tuple[str, str, str]]:
    """The entries of the navigation that this person may use: key, path, name."""
    found = [("inbox", "/inbox", "Inbox"), ("runs", "/runs", "Runs")]
    if may_list(visit.principal, Action.READ_AUDIT):
        found.append(("audit", "/audit", "Audit"))
    if may_list(visit.principal, Action.READ_INSIGHTS):
        found.append(("insights", "/insights", "Insights"))
    return found


def _file(name: str) -> Response:
    found = _known().get(name)
    if found is None:
        raise NotFound("there is no such file")
    kept = _FOREVER if request.args.get("v") == found.version else "no-cache"
    packed = request.accept_encodings["gzip"] > 0 and len(found.packed) < len(found.data)
    # The two are different bytes at one address, and a tag names bytes.
    tag = f'"{found.version}-gzip"' if packed else f'"{found.version}"'
    headers: dict[str, Any] = {"Cache-Control": kept, "ETag": tag, "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == tag:
        return Response(status=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    kind = f"{_TYPES[Path(name).suffix]}; charset=utf-8"
    return Response(found.packed if packed else found.data, headers=headers, content_type=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that is served: its bytes, the same packed, and what changes with them.

    Pages are never packed: they hold a form's token beside texts of others, whose length would give it away.
    """

    data: bytes
    packed: bytes
    version: str


@cache
def _known() -> dict[str, Asset]:
    """Every file that is served; read once, and nothing else can be asked for."""
    found = {}
    for path in sorted(STATIC.rglob("*")):
        if path.suffix in _TYPES:
            data = path.read_bytes()
            found[path.relative_to(STATIC).as_posix()] = Asset(
                data=data,
                packed=gzip.compress(data, 9, mtime=0),
                version=hashlib.sha256(data).hexdigest()[:12],
            )
    return found
