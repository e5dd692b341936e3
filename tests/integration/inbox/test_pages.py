"""The frame of the pages: forms of others are refused, nothing of others runs, errors are pages."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.inbox.html import Node, parse

from signoff_api.inbox.blueprint import FEATURES, STATIC
from signoff_api.inbox.pages import CONTENT_SECURITY_POLICY

NOWHERE = "01a20304-6249-76bb-8d5a-b8ac3b7d68a5"
FORMS = sorted(
    page.path for feature in FEATURES for page in feature.declared if page.method == "POST" and not page.public
)
HOSTILE = (
    "<script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>\"' onmouseover=alert(1) x='",
    "[a](javascript:alert(1)) ![b](https://evil.example/b.png) <iframe src=//evil.example></iframe>",
    "pay\u202elap\u200b\U000e0041\u2066 {{ 7*7 }} {% for x in y %} "
    "</textarea></pre></title></select><style>*{}</style>",
    "x" * 35_000,
)
MARKED = ("⟦U+202E⟧", "⟦U+200B⟧", "⟦U+E0041⟧", "⟦U+2066⟧")
HIDDEN = ("\u202e", "\u200b", "\U000e0041", "\u2066")


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as opened:
        yield opened


def _hostile(text: str) -> dict[str, Any]:
    return {
        "order_id": text[:150],
        "amount": "640.00",
        "nick": text,
        "color": "red",
        "ship": {"city": text},
        "tags": [text],
        "reply": text,
        "plain": text,
        text[:200]: text,
    }


@pytest.fixture(scope="module")
def tasks(desk: Desk) -> list[UUID]:
    """Human tasks whose every text is hostile, drafted twice, with what people said of them."""
    made = []
    for text in HOSTILE:
        task = desk.start("refund", _hostile(text))
        desk.engine.comment(task, text=text[:3_000], by=desk.people["ana"])
        desk.decide(task, "ana", "request_changes", note=text[:9_000], reason=text[:150])
        desk.work(desk.run_of(task), _hostile(text + " again"))
        desk.engine.claim(task, by=desk.people["sam"])
        made.append(task)
        over = desk.start("refund", _hostile(text))
        desk.decide(over, "ana", "reject", note=text[:9_000], reason=text[:150])
        made.append(over)
        made.append(desk.start("markdown", _hostile(text)))
        made.append(desk.start("beside", _hostile(text)))
    return made


def _check(page: Node, where: str) -> None:
    """Nothing in it runs, loads from elsewhere or looks like what it is not."""
    for node in page:
        for name, value in node.attrs.items():
            assert not name.startswith("on"), f"{where}: {name} at <{node.tag}>"
            assert name not in ("style", "srcdoc", "ping", "background"), f"{where}: {name} at <{node.tag}>"
            assert not name.startswith("hx-on"), where
            if name in ("href", "src", "action", "formaction", "hx-get", "data", "xlink:href", "poster"):
                assert value is not None
                ours = value.startswith("/") and not value.startswith("//")
                assert ours or value.startswith(("#", "?")), f"{where}: <{node.tag} {name}={value!r}>"
        assert node.tag not in ("style", "iframe", "object", "embed", "base", "img", "audio", "video"), (
            f"{where}: <{node.tag}>"
        )
        if node.tag == "script":
            assert not node.raw.strip(), f"{where}: a script in the page"
            assert (node.attrs.get("src") or "").startswith("/assets/"), where
        if node.tag == "meta" and "http-equiv" in node.attrs:
            raise AssertionError(f"{where}: {node.attrs}")
    # A field holds the text as it is, for who edits it; beside it, and everywhere else, it is marked.
    for node in page:
        if node.tag in ("textarea", "script"):
            continue
        for child in node.children:
            if isinstance(child, str):
                assert not any(character in child for character in HIDDEN), (
                    f"{where}: hidden in <{node.tag}>: {child[:80]!r}"
                )
    ids = [node.attrs["id"] for node in page if "id" in node.attrs]
    assert len(ids) == len(set(ids)), f"{where}: {sorted(name for name in ids if ids.count(name) > 1)}"


def _places(desk: Desk, tasks: list[UUID]) -> Iterator[str]:
    yield from ("/inbox", "/inbox?view=mine", "/inbox?view=team", "/inbox?view=overdue", "/inbox?view=all")
    yield from ("/inbox?view=done", "/inbox/counts", "/runs", "/audit", "/insights", "/sign-in")
    yield "/inbox?q=" + "%3Cscript%3E%22%27%E2%80%AE"
    yield "/inbox?workflow=%3Cb%3E%22&gate=%E2%80%AEx"
    yield "/inbox?view=%3Cscript%3E"
    for task in tasks:
        run = desk.run_of(task)
        yield from (f"/inbox/{task}", f"/inbox/{task}/notice?seen={'0' * 64}", f"/runs/{run}", f"/audit/{run}")
        yield f"/inbox?done={task}"


@pytest.mark.parametrize("name", ["admin", "ana", "sam"])
def test_hostile_text_is_text_on_every_page(desk: Desk, tasks: list[UUID], name: str) -> None:
    browser = desk.as_(name)
    seen = 0
    for path in _places(desk, tasks):
        response = browser.send("GET", path)
        assert response.status_code in (200, 403, 404, 422), (path, response.status_code)
        if response.mimetype != "text/html":
            continue
        seen += response.status_code == 200
        _check(parse(response.text), path)
        assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert seen > 50


def test_hostile_text_is_text_on_the_pages_that_forms_lead_to(desk: Desk, tasks: list[UUID]) -> None:
    ana = desk.as_("ana")
    for index in (0, 4, 8):
        task, text = tasks[index], HOSTILE[index // 4]
        ana.get(f"/inbox/{task}")
        note = text[:9_000]
        ana.press("Approve", note=note, edit__nick=text + "!", edit__count="x")
        _check(ana.page, f"confirm {index}")
        ana.press("Confirm approve", 422)
        _check(ana.page, f"decide {index}")
        assert ana.page.one("textarea", id="note").value.replace("\r\n", "\n") == note
        sha = ana.page.one(name="payload_sha256").value
        for action in ("reject", "approve", "assign"):
            ana.post("/inbox/bulk", action=action, item=f"{task}:{sha}", note=note)
            _check(ana.page, f"bulk {action} {index}")
        ana.post("/inbox/bulk/commit", 200, action="claim", item=f"{task}:{sha}")
        _check(ana.page, f"bulk result {index}")
        ana.get(f"/inbox/{task}")
        ana.post(f"/inbox/{task}/assign", 422, assignee=text[:200])
        _check(ana.page, f"assign {index}")
        ana.post(f"/inbox/{task}/confirm", decision=text[:90])
        _check(ana.page, f"armed {index}")
        over = tasks[index + 1]
        ana.get(f"/inbox/{over}")
        ana.post(f"/inbox/{over}/decide", 409, decision="approve", note=note, payload_sha256="0" * 64)
        _check(ana.page, f"late {index}")


def test_every_hidden_character_is_shown_on_review(desk: Desk, tasks: list[UUID]) -> None:
    task = tasks[8]
    page = desk.as_("ana").get(f"/inbox/{task}")
    text = page.text
    assert text.count("{{ 7*7 }} {% for x in y %}") >= 4, "a template in a text is text"
    for mark in MARKED:
        assert text.count(mark) >= 6, mark
    # In a field of a form a mark would become part of the text: it is said beside it.
    draft = page.one("section", class_="draft card")
    warned = [node.text for node in draft.find("div", class_="wrong")]
    for path in ("nick", "ship.city"):
        assert HIDDEN[0] in page.one(name=f"edit.{path}").value
    assert len(warned) >= 4
    assert all(MARKED[0] in text for text in warned if "⟦" in text)
    assert sum("⟦" in text for text in warned) >= 3


def test_huge_text_is_cut_with_a_way_to_all_of_it(desk: Desk, tasks: list[UUID]) -> None:
    page = desk.as_("ana").get(f"/inbox/{tasks[14]}")
    link = next(node for node in page.find("a") if node.text == "download all")
    response = desk.as_("ana").send("GET", link.attrs["href"] or "")
    assert response.content_type == "application/json"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert json.loads(response.data)["payload"]["plain"] == HOSTILE[3]
    for field in ("order_id", "reply"):
        assert len(page.one("section", class_="draft card").raw) < 400_000, field
    assert desk.as_("max").send("GET", link.attrs["href"] or "").status_code == 404


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_the_token_of_its_session_is_refused_and_changes_nothing(desk: Desk, path: str) -> None:
    task = desk.start("grace", {"amount": "5"})
    ana, sam = desk.as_("ana"), desk.as_("sam")
    ana.get(desk.engine.issue_task_link(task, "ana").path)
    place = path.replace("{human_task_id}", str(task)).replace("{run_id}", str(desk.run_of(task)))
    place = place.replace("/links/{link_id}", ana.path).replace("{delegation_id}", str(task))
    assert "{" not in place
    page = ana.get(f"/inbox/{task}")
    sha = page.one(name="payload_sha256").value
    sam.get("/inbox")
    fields = {
        "decision": "approve",
        "payload_sha256": sha,
        "assignee": "sam",
        "text": "x",
        "theme": "dark",
        "action": "reject",
        "item": f"{task}:{sha}",
    }
    before = desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")
    tokens: list[dict[str, str]] = [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": sam.csrf}, {"csrf": "é"}]
    for token in tokens:
        response = ana.send("POST", place, data=fields | token)
        assert response.status_code == 403, (path, token)
        assert "Set-Cookie" not in response.headers
        assert "reload the page" in response.text
    for site in ("cross-site", "same-site"):
        response = ana.send("POST", place, data=fields | {"csrf": ana.csrf}, headers={"Sec-Fetch-Site": site})
        assert response.status_code == 403, (path, site)
    # Nor is the token taken from the address.
    assert ana.send("POST", f"{place}?csrf={ana.csrf}", data=fields).status_code == 403
    assert (desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")) == before


def test_there_are_forms_to_be_refused() -> None:
    assert {"/inbox/{human_task_id}/decide", "/inbox/bulk/commit", "/sign-out", "/theme"} <= set(FORMS)


def test_reading_pages_changes_nothing(desk: Desk, tasks: list[UUID]) -> None:
    browser = desk.as_("admin")
    before = desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")
    for path in _places(desk, tasks[:4]):
        browser.send("GET", path)
        browser.send("HEAD", path)
    assert (desk.everything(), desk.sql("SELECT * FROM sessions ORDER BY id")) == before


def test_what_is_wrong_is_said_on_a_page(desk: Desk) -> None:
    ana = desk.as_("ana")
    cases = [
        (f"/inbox/{NOWHERE}", 404, "there is no such human task"),
        ("/inbox/x", 404, "there is nothing at this address"),
        ("/inbox?view=nothing", 422, "there is no list"),
        ("/inbox?sort=x", 422, "there is no order"),
        ("/inbox?cursor=x", 422, "cursor"),
        ("/inbox?q=" + "x" * 201, 422, "at most 200 characters"),
        ("/inbox?q=%00", 422, "NUL"),
        ("/inbox?workflow=" + "x" * 201, 422, "?workflow"),
    ]
    for path, status, says in cases:
        ana.get(path, status)
        assert says in ana.words, path
        assert ana.page.find("a", href="/inbox"), "there is a way on"
        assert ana.page.find("nav", class_="places") or status == 404
    response = ana.send("DELETE", "/inbox")
    assert response.status_code == 405
    nobody = desk.as_("nobody")
    nobody.get("/inbox", 403)
    assert "it takes one of these roles" in nobody.words
    nobody.get("/inbox/counts", 403)


def test_a_form_that_is_too_large_is_refused(desk: Desk) -> None:
    ana = desk.as_("ana")
    ana.get("/inbox")
    csrf = ana.csrf
    many = {"csrf": csrf, "note": "x" * 1_100_000}
    response = ana.send("POST", f"/inbox/{NOWHERE}/decide", data=many)
    assert response.status_code == 413
    assert "larger than this server reads" in response.text
    parts = [("csrf", csrf), *((f"f{n}", "x") for n in range(2_000))]
    boundary = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts
    )
    response = ana.send(
        "POST",
        f"/inbox/{NOWHERE}/decide",
        data=(boundary + "--b--\r\n").encode(),
        content_type="multipart/form-data; boundary=b",
    )
    assert response.status_code == 413


def _assets(page: Node) -> set[str]:
    return {
        value
        for node in page
        for name, value in node.attrs.items()
        if name in ("href", "src") and value is not None and value.startswith("/assets/")
    }


def test_assets_are_kept_for_good_under_their_version_alone(desk: Desk, tasks: list[UUID]) -> None:
    browser: Browser = desk.as_("ana")
    found = _assets(browser.get("/inbox")) | _assets(browser.get(f"/inbox/{tasks[0]}"))
    assert len(found) >= 6
    stranger = desk.browser()
    for address in found:
        response = stranger.send("GET", address)
        assert response.status_code == 200, address
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        version = address.partition("?v=")[2]
        assert hashlib.sha256(response.data).hexdigest().startswith(version)
        assert len(version) == 12
        again = stranger.send("GET", address, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        for other in ("", "?v=", "?v=000000000000"):
            unversioned = stranger.send("GET", address.partition("?")[0] + other)
            assert unversioned.headers["Cache-Control"] == "no-cache"
    kinds = {stranger.send("GET", address).content_type for address in found}
    assert kinds == {"text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml; charset=utf-8"}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "none.css",
        "../pages.py",
        "..%2fpages.py",
        "%2e%2e/pages.py",
        "..%5cpages.py",
        "vendor/manifest.json",
        "vendor/htmx.LICENSE",
        "vendor/../inbox.css",
        "vendor/vendor/htmx.min.js",
        "inbox.css%00",
        "inbox.css/",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "INBOX.CSS",
    ],
)
def test_nothing_else_is_an_asset(desk: Desk, path: str) -> None:
    response = desk.browser().send("GET", f"/assets/{path}")
    assert response.status_code == 404
    assert "Traceback" not in response.text


def test_what_others_wrote_is_as_they_published_it_and_has_its_licence() -> None:
    vendor = STATIC / "vendor"
    listed = json.loads((vendor / "manifest.json").read_text())["files"]
    names = {"manifest.json"}
    for entry in listed:
        assert hashlib.sha256((vendor / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        licence = (vendor / entry["licence_file"]).read_text()
        assert len(licence) > 200
        assert entry["licence"] in ("0BSD", "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0")
        assert entry["version"]
        names |= {entry["file"], entry["licence_file"]}
    assert {path.name for path in vendor.iterdir()} == names


def test_our_own_assets_ask_nobody_else() -> None:
    for path in STATIC.glob("*.*"):
        text = path.read_text()
        assert not re.search(r"(?:https?:)?//(?!www\.w3\.org)[a-z0-9.-]+\.[a-z]{2,}", text), path.name
        assert "eval(" not in text
    assert Path(STATIC / "inbox.css").is_file()
