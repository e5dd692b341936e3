"""Webhooks by the API: for administrators, and a secret is shown once."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from tests.integration.api.client import Api

from signoff.store.webhook_deliveries import Answer, record, take

URL = "https://8.8.8.8/hook"
_NEVER = timedelta(days=3)


def test_an_endpoint_from_its_first_day_to_its_last(api: Api) -> None:
    admin = api.as_("admin")
    made = admin.post("/webhooks", {"url": URL, "events": ["gate.opened"]}).get_json()
    where = f"/webhooks/{made['id']}"
    assert made["secret"].startswith("whsec_")
    shown = admin.get(where).get_json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown in admin.get("/webhooks").get_json()["items"]
    assert shown["created_by"]["name"] == "admin"

    rotated = admin.post(f"{where}/secret", {"overlap_hours": 1}).get_json()["secret"]
    assert rotated.startswith("whsec_")
    assert rotated != made["secret"]
    assert admin.get(where).get_json()["old_secret_until"] is not None

    delivery_id = admin.post(f"{where}/test", None).get_json()["delivery_id"]
    redeliver = f"{where}/deliveries/{delivery_id}/redeliver"
    assert admin.post(redeliver, None).status_code == 409
    (letter,) = take(api.engine.database, UUID(made["id"]), limit=8, lease_seconds=30)
    record(api.engine.database, letter, Answer(status=410), give_up_after=_NEVER, random=0.5)
    (dead,) = admin.get(f"{where}/deliveries?state=dead").get_json()["items"]
    assert (dead["id"], dead["status"], dead["attempts"]) == (delivery_id, 410, 1)
    assert admin.post(redeliver, None).status_code == 409, "the endpoint is disabled"
    assert admin.post(f"{where}/enable", None).get_json()["disabled_at"] is None
    assert admin.post(redeliver, None).get_json()["state"] == "pending"

    assert admin.delete(where).status_code == 200
    for gone in (
        admin.get(where),
        admin.delete(where),
        admin.post(f"{where}/enable", None),
        admin.post(redeliver, None),
    ):
        assert gone.status_code == 404


@pytest.mark.parametrize("name", ["operator", "auditor", "author", "portal", "ana", "nobody"])
def test_nobody_but_an_administrator_manages_them(api: Api, name: str) -> None:
    caller = api.as_(name)
    assert caller.get("/webhooks").status_code == 403
    assert caller.post("/webhooks", {"url": URL}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": 5},
        {"url": "https://169.254.169.254/latest"},
        {"url": "https://[::ffff:10.0.0.1]/"},
        {"url": "http://8.8.8.8/"},
        {"url": URL, "events": ["step.completed"]},
        {"url": URL, "events": ["gate.opened"] * 100},
        {"url": URL, "include_payload": "yes"},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
def test_what_can_be_no_endpoint_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.as_("admin").post("/webhooks", body).status_code == 422
