"""What tests of one's own work share: the flows, and how a decision is sent and refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.integration.inbox.desk import Desk
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step
from werkzeug.test import TestResponse

FLOWS = (
    graph(gate("ok", "pay", four_eyes=False, options=STANDARD, editable=("amount",)), pay(), name="own"),
    graph(gate("ok", "pay", four_eyes=False, approvals=2, editable=("amount",)), pay(), name="own-pair"),
    graph(gate("ok", "pay", options=STANDARD, changes_to=None, editable=("amount",), bulk=True), pay(), name="strict"),
    graph(gate("look", "send", mode="after"), step("send"), name="after"),
    graph(gate("ok", "pay", reviewers=("user:ana",), assign="ana"), pay(), name="to-ana"),
)


def sha(desk: Desk, task: UUID) -> str:
    ((found,),) = desk.sql("SELECT payload_sha256 FROM human_tasks WHERE id = %s", task)
    return str(found)


def api(desk: Desk, key: str, method: str, path: str, json: Any, **headers: str) -> TestResponse:
    return desk.app.test_client().open(
        f"/api/v1{path}", method=method, json=json, headers={"Authorization": f"Bearer {key}", **headers}
    )


def decide(desk: Desk, task: UUID, key: str, decision: str = "approve", **said: Any) -> TestResponse:
    headers = said.pop("headers", {})
    body = {"decision": decision, "payload_sha256": sha(desk, task), **said}
    return api(desk, key, "POST", f"/human-tasks/{task}/decisions", body, **headers)


def code(response: TestResponse) -> str:
    """The code of the refusal, of the only item where there are several; a page says it by its status alone."""
    if response.mimetype == "text/html":
        return {403: "four_eyes"}.get(response.status_code, str(response.status_code))
    found = response.get_json()
    if "items" in found:
        (item,) = found["items"]
        found = item["problem"]
    return str(found.get("code"))
