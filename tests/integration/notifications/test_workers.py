"""Notifications by real processes: a sweep gives them out, a worker sends them, and their logs hold no secret."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.notifications.mail import OPERATOR, smtp
from tests.integration.workers.site import site
from tests.servers import eventually, flush

from signoff.engine import channels
from signoff.settings import Settings

pytestmark = pytest.mark.long

CANARY = "kanarienvogel-5e1f"


def test_a_channel_is_told_by_a_worker_whose_log_has_none_of_its_secrets(
    database_url: str, valkey_url: str, tmp_path: Path
) -> None:
    flush(valkey_url)
    with smtp() as mailbox, site(database_url, valkey_url, tmp_path) as made:
        # The server offers no login, so the one with a password fails, and says so.
        urls = (mailbox.url(), mailbox.url().replace("mailto://", f"mailto://bob:{CANARY}@"))
        ids: list[UUID] = []
        for url in urls:
            channel = channels.add(made.engine.database, Settings(), subject="group:leads", url=url, by=OPERATOR)
            ids.append(channel.id)
            channels.test(made.engine.database, channel.id, by=OPERATOR)
        worker = made.worker(SIGNOFF_LOG_LEVEL="DEBUG", SIGNOFF_NOTIFY_TIMEOUT_SECONDS="5")
        beat = made.beat()
        eventually(lambda: bool(mailbox.got), seconds=20, why=lambda: worker.said)

        def tried() -> bool:
            (row,) = channels.sent(made.engine.database, ids[1], by=OPERATOR)
            return row.error is not None

        eventually(tried, seconds=20, why=lambda: worker.said)
        assert mailbox.subjects() == ["Signoff: a test of this channel"]
        assert CANARY not in worker.said + beat.said
