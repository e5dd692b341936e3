"""Webhooks by real workers: delivered by their own sweep, and not lost with a worker that is killed while it sends."""

from __future__ import annotations

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.integration.webhooks.receiver import answer, receiver
from tests.integration.workers.site import site
from tests.servers import eventually, flush

from signoff.model import SYSTEM
from signoff.store.webhook_deliveries import list_deliveries
from signoff.store.webhooks import add_endpoint, add_test


def test_a_worker_that_is_killed_between_sending_and_recording_loses_nothing(
    database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    flush(valkey_url)
    victims: list[int] = []
    killed = threading.Event()

    def respond(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            # It has been sent, and the answer will not be read.
            os.kill(victims[0], signal.SIGKILL)
            killed.set()
            return
        answer(204)(handler, number)

    with receiver(respond) as there, site(database_url, valkey_url, tmp_path) as made:
        settings = {
            "SIGNOFF_WEBHOOK_PORTS": str(there.port),
            "SIGNOFF_WEBHOOK_ALLOW": "127.0.0.0/8",
            "SIGNOFF_WEBHOOK_HTTP": "true",
            "SIGNOFF_POOL": "threads",
        }
        database = made.engine.database
        endpoint, secret = add_endpoint(database, url=there.url, by=SYSTEM)
        victims.append(made.worker(**settings).pid)
        delivery_id = add_test(database, endpoint.id)
        made.beat()
        assert killed.wait(20)

        second = made.worker(**settings)
        # The lease of the one that is gone would end by itself; the test does not wait for it.
        with database.transaction() as cursor:
            cursor.execute("UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending'")
            cursor.execute("UPDATE webhook_endpoints SET next_at = now()")
        eventually(lambda: list_deliveries(database, endpoint.id)[0].state == "delivered", seconds=20, why=second.said)
        assert [each.id for each in there.got] == [str(delivery_id)] * 2
        assert list_deliveries(database, endpoint.id)[0].attempts == 2
        for each in there.got:
            assert each.verified(secret)["type"] == "webhook.test"
