"""Health, metrics and the API's own documentation."""

from __future__ import annotations

import re
import threading

from tests.integration.api.client import Api

from signoff.engine import Engine
from signoff.errors import Unavailable
from signoff.settings import Settings
from signoff_api.app import create_app
from signoff_api.probes import Probe


def test_ready_says_that_both_are_reachable(api: Api) -> None:
    ready = api.as_(None).send("GET", "/readyz", raw=True)
    assert ready.get_json() == {"status": "ok", "database": "ok", "broker": "ok"}
    assert api.as_(None).send("GET", "/healthz?cache=1", raw=True).get_json() == {"status": "ok"}


def test_metrics_count_requests_by_route_and_stock_by_state(api: Api, engine: Engine, settings: Settings) -> None:
    run = api.as_("portal").start("expense", {"amount": 1})
    app = create_app(engine, settings)  # counts of its own
    client = app.test_client()
    headers = {"Authorization": f"Bearer {api.keys['ana']}"}
    for _ in range(3):
        client.get(f"/api/v1/runs/{run['id']}", headers=headers)
    client.get("/api/v1/none")
    text = client.get("/metrics").text
    assert 'signoff_http_requests_total{method="GET",route="/api/v1/runs/<run_id>",status="200"} 3.0' in text
    assert 'signoff_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'signoff_http_request_seconds_count{method="GET",route="/api/v1/runs/<run_id>"} 3.0' in text
    assert run["id"] not in text
    waiting = re.search(r'signoff_runs\{status="waiting"\} (\d+)', text)
    assert waiting is not None
    assert int(waiting[1]) >= 1
    assert re.search(r"signoff_human_tasks_open [1-9]", text)
    assert "signoff_human_tasks_overdue 0.0" in text
    assert "signoff_oldest_overdue_run_seconds 0.0" in text


def test_a_probe_that_hangs_holds_one_thread_however_often_it_is_asked() -> None:
    release, started = threading.Event(), []

    def hang() -> None:
        started.append(1)
        release.wait(10)

    probe = Probe(hang, seconds=0.05)
    assert [probe.answers() for _ in range(3)] == [False, False, False]
    assert len(started) == 1
    release.set()
    assert Probe(lambda: None).answers()

    def away() -> None:
        raise Unavailable

    assert not Probe(away).answers()
