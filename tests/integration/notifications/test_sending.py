"""How notifications are sent: again until they arrive or are given up, not twice at a time, and as one when many."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.engine.flows import GATE, REFUND
from tests.integration.engine.world import together
from tests.integration.notifications.mail import OPERATOR, Mailbox, Office, texts

from signoff.engine import channels
from signoff.errors import Conflict, Forbidden, InvalidInput, LeaseLost, NotFound
from signoff.notifications.pace import Pace
from signoff.store.identity import update_principal
from signoff.store.notifications import forget_notifications, record, take

CANARY = "kanarienvogel-5e1f"
BURST = {"notify_burst": 5, "notify_digest_seconds": 60}


def test_what_could_not_be_sent_is_sent_once_when_the_server_is_back(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    mailbox.refusing = True
    office.world.start(GATE, {"amount": 1})
    assert office.send() == 0
    (waiting,) = office.rows(channel)
    assert (waiting.state, waiting.attempts) == ("pending", 1)
    assert waiting.error
    assert office.send() == 0, "not before it is due"
    mailbox.refusing = False
    office.world.later(31)
    assert office.send() == 1
    (done,) = office.rows(channel)
    assert (done.state, done.attempts, done.error) == ("sent", 2, None)
    assert len(mailbox.got) == 1


def test_what_never_arrives_is_dead_after_its_hours_and_can_be_sent_again(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox, "gate.opened")
    mailbox.refusing = True
    office.world.start(GATE, {"amount": 1})
    database = office.world.engine.database
    office.due()
    with pytest.raises(Conflict):
        channels.redeliver(database, office.rows()[0].id, by=OPERATOR)
    began = office.world.now()
    office.until_settled()
    (dead,) = channels.sent(database, None, state="dead", by=OPERATOR)
    assert timedelta(days=2) < office.world.now() - began <= timedelta(days=3, minutes=30)
    assert dead.attempts >= 10
    mailbox.refusing = False
    channels.redeliver(database, dead.id, by=OPERATOR)
    office.world.later(60)
    assert office.send() == 1
    assert [each.state for each in office.rows(channel)] == ["sent"]


def test_two_workers_at_once_send_it_once(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    for _ in range(4):
        office.world.start(GATE, {"amount": 1})
    assert office.due() == [channel.id]
    assert office.due() == [], "a sweep gives a channel to one task"
    courier = office.courier()
    together(*(lambda: courier.serve(channel.id) for _ in range(3)))
    assert len(mailbox.got) == 4
    assert {each.attempts for each in office.rows(channel)} == {1}


def test_two_sweeps_at_once_give_an_event_out_once(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    for _ in range(10):
        office.world.start(GATE, {"amount": 1})
    together(office.due, office.due, office.due)
    assert len(office.rows(channel)) == 10
    assert office.world.sql("SELECT count(*) FROM notification_events") == [(0,)]


def test_what_was_sent_and_not_recorded_is_sent_again(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})
    office.due()
    courier = office.courier()
    pace = Pace(burst=5, window_seconds=60)
    lost = take(office.world.engine.database, channel.id, pace=pace, lease_seconds=courier.lease_seconds)
    assert lost is not None
    assert courier.send(lost) is None
    assert take(office.world.engine.database, channel.id, pace=pace, lease_seconds=1) is None, "it has its while"
    office.world.later(courier.lease_seconds + 1)
    assert office.send() == 1
    assert len(mailbox.got) == 2
    late = record(office.world.engine.database, lost, "late", give_up_after=timedelta(0), random=0.5)
    assert late == {}, "who comes late changes nothing"
    assert [each.state for each in office.rows(channel)] == ["sent"]


def test_who_comes_late_settles_nothing_while_another_is_at_it(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})
    office.due()
    database, pace = office.world.engine.database, Pace(burst=5, window_seconds=60)
    first = take(database, channel.id, pace=pace, lease_seconds=10)
    office.world.later(11)
    second = take(database, channel.id, pace=pace, lease_seconds=10)
    assert first is not None
    assert second is not None
    assert record(database, first, None, give_up_after=timedelta(hours=1), random=0.5) == {}
    assert [each.state for each in office.rows(channel)] == ["pending"]


def test_a_worker_that_was_given_up_tells_nothing(office: Office, mailbox: Mailbox) -> None:
    world = office.world
    channel = office.add("user:ana", mailbox)
    run_id = world.start(REFUND, {})
    claimed = world.claim(run_id)
    world.later(60)
    world.engine.sweep()
    with pytest.raises(LeaseLost):
        world.engine.complete(claimed, {"amount": 40}, worker="w1", go_on=False)
    assert office.world.sql("SELECT count(*) FROM notification_events") == [(0,)]
    world.work(run_id, {"amount": 40})
    office.send()
    assert [each.type for each in office.rows(channel)] == ["gate.opened"]


def test_fifty_at_once_are_one_digest_that_names_them(office: Office, mailbox: Mailbox) -> None:
    office.options |= BURST
    channel = office.add("user:ana", mailbox)
    for number in range(50):
        office.world.start(GATE, {"amount": number})
    assert office.send() == 50
    (mail,) = mailbox.got
    assert str(mail["Subject"]) == "50 notifications"
    text, page = texts(mail)
    assert page.count("<li>") == 20
    assert text.count("/inbox/") >= 20
    assert "And 30 more." in text
    rows = office.rows(channel)
    assert {each.state for each in rows} == {"sent"}
    assert len({each.digest_id for each in rows}) == 1
    assert rows[0].digest_id is not None


def test_a_flood_that_goes_on_is_a_few_messages_and_then_a_digest_a_while(office: Office, mailbox: Mailbox) -> None:
    office.options |= BURST
    channel = office.add("user:ana", mailbox)
    for _ in range(40):
        office.world.start(GATE, {"amount": 1})
        office.send()
        office.world.later(3)
    # Two minutes: five one by one and a digest, and not before a minute is over the next ones.
    assert len(mailbox.got) <= 2 * (5 + 1) + 1
    office.until_settled()
    assert {each.state for each in office.rows(channel)} == {"sent"}, "and nothing is lost"
    covered = sum(int(subject.split()[0]) if "notifications" in subject else 1 for subject in mailbox.subjects())
    assert covered == 40
    office.world.later(120)
    office.world.start(GATE, {"amount": 1})
    office.send()
    assert mailbox.subjects()[-1].startswith("Decision needed"), "and once it is quiet, one is one again"


def test_a_digest_that_fails_is_tried_again_with_all_it_covers(office: Office, mailbox: Mailbox) -> None:
    office.options |= BURST
    channel = office.add("user:ana", mailbox)
    mailbox.refusing = True
    for _ in range(12):
        office.world.start(GATE, {"amount": 1})
    assert office.send() == 0
    mailbox.refusing = False
    office.world.later(31)
    assert office.send() == 12
    assert mailbox.subjects() == ["12 notifications"]
    assert {each.attempts for each in office.rows(channel)} == {2}


@contextmanager
def _silent() -> Iterator[tuple[socket.socket, int]]:
    """A server that says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, server.getsockname()[1]


def test_a_server_that_never_comes_to_an_end_costs_its_time_and_no_more(office: Office) -> None:
    office.options |= {"notify_timeout_seconds": 0.5}
    stopped = threading.Event()
    with _silent() as (server, port):

        def trickle() -> None:
            # Each byte comes in time, and the line they are of never ends.
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while not stopped.wait(0.1):
                    connection.sendall(b"2")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            url = f"mailto://127.0.0.1:{port}/ana@example.com?from=s@example.com&mode=insecure"
            channel = office.add("user:ana", url)
            office.world.start(GATE, {"amount": 1})
            began = time.monotonic()
            assert office.send() == 0
            assert time.monotonic() - began < 5
            (row,) = office.rows(channel)
            assert (row.state, row.error) == ("pending", "no answer within 0.5 seconds")
        finally:
            stopped.set()
            thread.join(10)


def test_a_secret_is_in_no_log_no_error_and_nothing_that_is_shown(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    office.options |= {"notify_timeout_seconds": 2}
    with _silent() as (_, port):
        urls = [f"mailto://bob:{CANARY}@127.0.0.1:{port}/ana@example.com?from=s@example.com&mode=insecure"]
        # And a service whose token is in the address that it is called by. Nobody listens there any more.
        urls.append(f"json://127.0.0.1:{port}/{CANARY}")
    office.options["notify_services"] = ("mailto", "json")
    for url in urls:
        channel = office.add("user:ana", url)
        assert CANARY not in str(channel.to_json()) + repr(channel)
    office.world.start(GATE, {"amount": 1})
    office.send()
    told = str([each.to_json() for each in office.rows()])
    out = capfd.readouterr()
    said = caplog.text + out.out + out.err + told
    assert CANARY not in said
    assert all(each.error for each in office.rows())


def test_a_channel_that_is_disabled_or_removed_is_told_nothing_more(office: Office, mailbox: Mailbox) -> None:
    database = office.world.engine.database
    channel = office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})
    office.due()
    channels.disable(database, channel.id, by=OPERATOR)
    office.world.start(GATE, {"amount": 2})
    assert office.send() == 0
    assert [each.state for each in office.rows(channel)] == ["dead"]
    with pytest.raises(Conflict):
        channels.test(database, channel.id, by=OPERATOR)
    channels.enable(database, channel.id, by=OPERATOR)
    office.world.start(GATE, {"amount": 3})
    assert office.send() == 1
    channels.remove(database, channel.id, by=OPERATOR)
    with pytest.raises(NotFound):
        channels.sent(database, channel.id, by=OPERATOR)
    assert office.rows() == []


def test_who_is_disabled_before_it_is_sent_is_not_told(office: Office, mailbox: Mailbox) -> None:
    database = office.world.engine.database
    channel = office.add("user:ana", mailbox, payload=True)
    mailbox.refusing = True
    office.world.start(GATE, {"amount": 1})
    assert office.send() == 0
    update_principal(database, "ana", disabled=True)
    mailbox.refusing = False
    office.world.later(31)
    assert office.send() == 0
    assert mailbox.got == []
    assert [(each.state, each.error) for each in office.rows(channel)] == [("dead", "its person is disabled")]
    update_principal(database, "ana", disabled=False)
    office.world.start(GATE, {"amount": 2})
    assert office.send() == 1, "and when they are back, what happens from then on"


def test_what_is_not_allowed_any_more_is_not_sent(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    office.options |= {"notify_services": ("slack",)}
    office.world.start(GATE, {"amount": 1})
    assert office.send() == 0
    assert mailbox.got == []
    assert "refused" in str(office.rows()[0].error)


def test_people_see_to_their_own_channels_and_to_no_others(office: Office, mailbox: Mailbox) -> None:
    database = office.world.engine.database
    ana, ben = office.people["ana"], office.people["ben"]
    settings = office.settings()

    def add(subject: str, url: str, by: Any, **options: Any) -> Any:
        return channels.add(database, settings.model_copy(update=options), subject=subject, url=url, by=by)

    slack = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/%23general"
    own = add("user:ana", slack, ana)
    for subject in ("user:ben", "group:leads"):
        with pytest.raises(Forbidden):
            add(subject, slack, ana)
    with pytest.raises(InvalidInput):
        add("user:ana", mailbox.url(), ana)
    assert add("user:ana", mailbox.url(), ana, notify_hosts=("127.0.0.1",)).subject == "user:ana"
    for call in (channels.remove, channels.disable, channels.enable, channels.test, channels.sent):
        with pytest.raises(NotFound):
            call(database, own.id, by=ben)
    assert channels.list_all(database, by=ben) == []
    assert len(channels.list_all(database, by=ana)) == 2
    test_id = channels.test(database, own.id, by=ana)
    with pytest.raises(NotFound):
        channels.redeliver(database, test_id, by=ben)
    with pytest.raises(Forbidden):
        channels.sent(database, None, by=ana)
    channels.remove(database, own.id, by=ana)


def test_nobody_is_told_who_is_not_there(office: Office, mailbox: Mailbox) -> None:
    for subject in ("user:nobody", "leads", "user:", "group:", "group:A B", "users:ana"):
        with pytest.raises(InvalidInput):
            office.add(subject, mailbox)
    with pytest.raises(InvalidInput):
        office.add("user:ana", mailbox, "run.created")


def test_a_template_of_ones_own_is_used_and_one_that_does_not_work_is_not(
    office: Office, mailbox: Mailbox, tmp_path: Path
) -> None:
    (tmp_path / "message.title.txt").write_text("[Acme] {{ title }}\nBcc: eve@example.com")
    (tmp_path / "message.html").write_text("<p>{{ nothing.at.all }}</p>")
    (tmp_path / "message.txt").write_text("{{ ''.__class__.__mro__ }}")
    office.options |= {"notify_templates": tmp_path}
    office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})
    assert office.send() == 1
    (mail,) = mailbox.got
    assert str(mail["Subject"]) == "[Acme] Decide ok Bcc: eve@example.com"
    assert mail["Bcc"] is None
    assert "Decision needed" in texts(mail)[1], "ours, because that one does not work"


def test_a_channel_can_be_tried(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("group:leads", mailbox)
    channels.test(office.world.engine.database, channel.id, by=OPERATOR)
    assert office.send() == 1
    assert mailbox.subjects() == ["Signoff: a test of this channel"]


def test_old_rows_are_forgotten_and_what_waits_is_not(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})
    office.send()
    mailbox.refusing = True
    office.world.start(GATE, {"amount": 2})
    office.send()
    office.world.later(86400 * 2)
    with office.world.engine.database.transaction() as cursor:
        assert forget_notifications(cursor, keep_days=1, limit=100) == 1
    assert [each.state for each in office.rows(channel)] == ["pending"]


def test_an_event_that_can_not_be_read_holds_up_no_other(office: Office, mailbox: Mailbox) -> None:
    channel = office.add("user:ana", mailbox)
    bad = office.world.start(GATE, {"amount": 1})
    office.world.start(GATE, {"amount": 2})
    office.world.sql(
        "UPDATE notification_events SET type = 'no.such', due_at = due_at - interval '1 minute' WHERE run_id = %s", bad
    )
    assert office.send() == 1
    assert len(office.rows(channel)) == 1
    assert office.world.sql("SELECT run_id FROM notification_events") == [(bad,)], "and it is not thrown away"
