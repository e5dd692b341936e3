"""Hostile text in everything a run can hold: the pages show it, with what is hidden in it, and do nothing it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from tests.integration.inbox.run_site import Site, open_site
from tests.unit.transitions.graphs import gate, graph, pay, step

from signoff.definition.graph import End, Graph, StepNode

HOSTILE = "<img src=x onerror=alert(1)>\"'\u202eevil\u200b"


@pytest.fixture(scope="module")
def site(module_database_url: str, valkey_url: str) -> Iterator[Site]:
    with open_site(module_database_url, valkey_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def hostile(site: Site) -> UUID:
    """A run with something hostile in every text there is."""
    made: Graph = graph(
        StepNode(**{**_fields(step("s")), "name": f"s{HOSTILE}", "next": f"g{HOSTILE}"}),
        gate(
            f"g{HOSTILE}",
            f"p{HOSTILE}",
            options=("approve", f"o{HOSTILE}"),
            routes={f"o{HOSTILE}": End(status="failed")},
            editable=("amount",),
            title=HOSTILE,
        ),
        StepNode(**{**_fields(pay()), "name": f"p{HOSTILE}"}),
        name=f"w{HOSTILE}",
    )
    site.register(made)
    run_id = site.start(made.workflow, {"text": HOSTILE}, by="rita", **{HOSTILE: HOSTILE})
    site.work(run_id, {"amount": HOSTILE, HOSTILE: 1})
    site.engine.comment(site.task(run_id), text=HOSTILE, by=site.people["ana"])
    patch = {"amount": f"new{HOSTILE}"}
    site.decide(run_id, "ana", "approve", note=HOSTILE, reason=HOSTILE, patch=patch, on_behalf_of=HOSTILE)
    site.fail(run_id, message=HOSTILE)
    return run_id


def _fields(node: StepNode) -> dict[str, object]:
    return {name: getattr(node, name) for name in node.__dataclass_fields__}


@pytest.mark.parametrize("path", ["/runs", "/runs/{}", "/audit", "/audit/{}"])
def test_hostile_text_is_shown_and_never_obeyed(site: Site, hostile: UUID, path: str) -> None:
    page = site.as_("admin").get(path.format(hostile))
    assert "<img" not in page
    assert "onerror=alert(1)&gt;" in page
    body = page.partition("<main")[2]
    assert "⟦U+202E⟧" in body
    unmarked = re.sub(r"<(?:input|option|textarea)\b[^>]*>", "", body)
    assert "\u202e" not in unmarked
    assert "\u200b" not in unmarked
    assert not re.search(r'\son\w+="', page.replace("onerror=alert", ""))
    assert not re.search(r"<[^>]*\sstyle=", page)


@pytest.mark.parametrize("path", ["/runs", "/runs/{}", "/audit", "/audit/{}", "/audit/check"])
def test_a_page_asks_for_nothing_from_elsewhere_and_keeps_to_its_policy(site: Site, hostile: UUID, path: str) -> None:
    response = site.as_("admin").send("GET", path.format(hostile))
    assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
    for address in re.findall(r'(?<![-\w])(?:src|href|action)="([^"]*)"', response.text):
        assert address.startswith(("/", "#", "?")), address
        assert not address.startswith("//")
    assert not re.search(r"<script(?![^>]*\ssrc=)", response.text)


def test_hostile_text_that_was_typed_is_kept_as_it_was_typed(site: Site) -> None:
    run_id = site.start("blind", {"amount": 1}, by="rita")
    page = site.as_("rita").post(f"/runs/{run_id}/cancel", 422, reason=f"</textarea>{HOSTILE}").text
    assert "&lt;/textarea&gt;&lt;img" in page
    assert "<img" not in page
