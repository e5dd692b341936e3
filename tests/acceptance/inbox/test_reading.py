"""What is read and taken away: a long list, the figures of a gate, the log and its proof."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.caller import Caller
from tests.acceptance.inbox.browser import Watched
from tests.acceptance.inbox.conftest import Open
from tests.acceptance.inbox.flows import letter, opened, value

pytestmark = pytest.mark.xdist_group("chromium")

MANY = 60
"""More than a page of the list has."""


def tab_to(page: Page, what: str, *, within: int = 60) -> None:
    """Press Tab until the focus is on what this selector names."""
    for _ in range(within):
        page.keyboard.press("Tab")
        if page.evaluate("(what) => document.activeElement.matches(what)", what):
            return
    raise AssertionError(f"{within} times Tab, and the focus never was on {what}")


def test_show_more_brings_the_rest_once_and_without_a_new_page(
    open_page: Open, watched: Watched, admin: Caller, requester: Caller
) -> None:
    workflow = letter(admin, "read-many")
    runs = [requester.start(workflow, value(f"M-{number}"))["id"] for number in range(MANY)]
    page = open_page("ana", f"/inbox?workflow={workflow}&sort=created_at")
    expect(page.locator("#tabs [aria-current=page] .count")).to_have_text(str(MANY))
    expect(page.locator(".task-row")).to_have_count(50)
    loads = sum("/assets/" in url for url in watched.requests)
    page.locator(".task-row").nth(3).locator("[data-pick]").check()
    page.get_by_role("link", name="Show more").press("Enter")
    expect(page.locator(".task-row")).to_have_count(MANY)
    expect(page.locator(".more")).to_have_count(0)
    assert sum("/assets/" in url for url in watched.requests) == loads
    expect(page.locator(".task-row").nth(3).locator("[data-pick]")).to_be_checked()
    titles = page.locator(".task-row .title").all_inner_texts()
    assert titles == [f"Letter about M-{number}" for number in range(MANY)]
    assert len(runs) == len(set(runs))
    page.locator(".task-row").last.locator("[data-open-row]").click()
    expect(page.locator("h1")).to_have_text(f"Letter about M-{MANY - 1}")


def test_insights_are_asked_and_taken_away_with_the_keyboard_alone(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, tmp_path: Path
) -> None:
    workflow = letter(admin, "zz-insights")
    for number, option in enumerate(("approve", "approve", "reject")):
        ana.decide(opened(requester, ana, workflow, f"I-{number}"), option, note="so").ok(201)
    page = open_page("cleo", "/insights")
    tab_to(page, "#gate")
    page.keyboard.type(workflow)
    tab_to(page, "form.question button")
    page.keyboard.press("Enter")
    page.wait_for_url("**gate=zz-insights*")
    expect(page.locator("#gate")).to_have_value("zz-insights/read")
    table = page.locator("section[aria-labelledby=buckets] table")
    expect(table.locator("tr", has_text="3").first).to_be_visible()
    expect(page.locator("section[aria-labelledby=buckets] svg")).to_be_visible()
    tab_to(page, "section[aria-labelledby=buckets] a.csv", within=80)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    path = tmp_path / "buckets.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert (sum(int(row["decisions"]) for row in rows), sum(int(row["approved"]) for row in rows)) == (3, 2)


def test_what_the_audit_hands_out_proves_itself_offline_and_a_change_shows(
    open_page: Open, admin: Caller, requester: Caller, ana: Caller, tmp_path: Path
) -> None:
    task = opened(requester, ana, letter(admin, "read-audit"), "A-1")
    ana.decide(task, "approve", patch={"amount": "40.00"}, note="half of it").ok(201)
    requester.until({"id": task["run_id"]}, "completed")
    page = open_page("cleo", f"/runs/{task['run_id']}")
    page.get_by_role("link", name="Audit").last.click()
    expect(page.locator(".verdict")).to_contain_text("The log holds")
    pack, verifier = (taken(page, name, tmp_path) for name in ("Export", "Verifier"))
    said = verify(verifier, pack)
    assert (said.returncode, said.stdout[:6]) == (0, "HOLDS:"), said.stdout + said.stderr
    pack.write_text(pack.read_text().replace("half of it", "all of it"))
    assert json.loads(pack.read_text())
    assert verify(verifier, pack).returncode == 1


def taken(page: Page, name: str, folder: Path) -> Path:
    """What this link of the page downloads."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def verify(verifier: Path, pack: Path) -> subprocess.CompletedProcess[str]:
    """As an auditor would: one file of Python, without anything of ours."""
    command: list[Any] = [sys.executable, "-I", verifier, pack]
    return subprocess.run(command, capture_output=True, text=True, env={}, timeout=60, check=False)
