"""Who is told of what, and in which words: real mail to a real server on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.integration.engine.flows import GATE, REFUND
from tests.integration.engine.world import ADMIN, principal
from tests.integration.notifications.mail import PUBLIC_URL, Mailbox, Office, texts
from tests.unit.transitions.graphs import STANDARD, gate, graph, pay, step

from signoff.store.identity import update_principal
from signoff.store.task_links import list_links

CANARY = "canary-7f3a"


def _titled(title: str, **options: Any) -> Any:
    return graph(gate("ok", "pay", title=title, **options), pay(), name="titled")


def _bodies(mailbox: Mailbox) -> str:
    return "\n".join("\n".join(texts(each)) + str(each["Subject"]) for each in mailbox.got)


def test_who_is_asked_gets_a_mail_with_what_when_why_and_where(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    run_id = office.world.start(GATE, {"amount": 40, "note": CANARY})
    assert office.send() == 1
    (mail,) = mailbox.got
    task = office.world.task(run_id)
    assert str(mail["Subject"]).startswith("Decision needed: ")
    assert str(mail["To"]) == "ana@example.com"
    (link,) = list_links(office.world.engine.database, task.id)
    address = f"{PUBLIC_URL}/l/sl_{link.prefix}_"
    for text in texts(mail):
        assert address in text
        assert "gate" in text
        assert "UTC" in text
        assert "Why you are asked: " in text
        assert CANARY not in text
    assert office.send() == 0, "and never again"


def test_a_group_and_its_members_are_each_told_once(office: Office, mailbox: Mailbox) -> None:
    office.add("group:leads", mailbox)
    office.add("user:ana", mailbox)
    office.add("user:ben", mailbox)
    office.person("eve", "others")
    office.add("user:eve", mailbox)
    office.world.start(GATE, {"amount": 40})
    assert office.send() == 3
    assert mailbox.recipients() == {"leads@example.com", "ana@example.com", "ben@example.com"}


def test_the_same_event_is_given_to_a_channel_once_whatever_comes_twice(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    run_id = office.world.start(GATE, {"amount": 40})
    office.due()
    office.world.sql(
        "INSERT INTO notification_events SELECT run_id, seq, type, now() FROM events"
        " WHERE run_id = %s AND type = 'gate.opened'",
        run_id,
    )
    office.world.later(60)
    office.send()
    assert len(mailbox.got) == 1


def test_what_became_of_it_is_told_to_who_was_asked_and_who_started_it(office: Office, mailbox: Mailbox) -> None:
    asker = office.person("rita", roles=("requester",))
    office.add("user:ana", mailbox, "gate.decided")
    office.add("user:rita", mailbox, "gate.decided")
    run_id = office.world.start(GATE, {"amount": 40}, by=asker)
    office.world.decide(run_id, office.people["ben"], "approve")
    assert office.send() == 2
    assert mailbox.recipients() == {"ana@example.com", "rita@example.com"}
    assert "Outcome: approved" in texts(mailbox.got[0])[0]
    assert "By: ben" in texts(mailbox.got[0])[0]


def test_time_tells_whoever_it_passes_for(office: Office, mailbox: Mailbox) -> None:
    office.person("max", "managers")
    office.add("user:ana", mailbox)
    office.add("user:max", mailbox)
    run_id = office.world.start(REFUND, {})
    office.world.work(run_id, {"amount": 40})
    for _ in range(3):
        office.world.later(3600)
        office.world.engine.sweep()
        office.send()
    office.world.later(7200)
    office.world.engine.sweep()
    office.send()
    by_person: Mapping[str, list[str]] = {
        name: [str(each["Subject"]).partition(":")[0] for each in mailbox.got if str(each["To"]).startswith(name)]
        for name in ("ana", "max")
    }
    # The outcome that follows from a time-out is no second message; who comes in later hears of how it ended.
    assert by_person["ana"] == ["Decision needed", "Reminder", "Timed out"]
    assert by_person["max"] == ["Escalated to you", "Timed out"]
    assert "what follows: reject" in texts(mailbox.got[-1])[0]


def test_a_channel_that_does_not_ask_for_time_outs_is_told_of_the_outcome(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox, "gate.decided")
    office.world.start(GATE, {"amount": 40})
    office.world.later(3700)
    office.world.engine.sweep()
    office.send()
    assert [each.partition(":")[0] for each in mailbox.subjects()] == ["Decided"]


def test_who_is_asked_is_told_when_the_run_is_canceled(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox, "run.canceled")
    run_id = office.world.start(GATE, {"amount": 40})
    office.world.engine.cancel(run_id, reason=CANARY, by=ADMIN)
    office.send()
    assert [each.partition(":")[0] for each in mailbox.subjects()] == ["Canceled"]
    assert CANARY not in _bodies(mailbox)


def test_a_new_draft_is_told_and_a_handed_on_task_to_its_holder_alone(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox, "gate.revised")
    ben = office.add("user:ben", mailbox, "human_task.assigned")
    run_id = office.world.start(REFUND, {})
    office.world.work(run_id, {"amount": 40})
    office.world.decide(run_id, office.people["ana"], "request_changes", note="less")
    office.world.work(run_id, {"amount": 30})
    office.world.engine.assign(office.world.task(run_id).id, assignee="ben", by=office.people["ana"])
    office.send()
    assert sorted(each.partition(":")[0] for each in mailbox.subjects()) == ["Assigned to you", "New draft to decide"]
    assert [each.type for each in office.rows(ben)] == ["human_task.assigned"]


def test_a_reminder_goes_to_who_holds_the_task_and_else_to_all(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox, "gate.reminded")
    office.add("user:ben", mailbox, "gate.reminded")
    for holder, expected in (("ben", {"ben@example.com"}), (None, {"ana@example.com", "ben@example.com"})):
        run_id = office.world.start(REFUND, {})
        office.world.work(run_id, {"amount": 40})
        if holder is not None:
            office.world.engine.assign(office.world.task(run_id).id, assignee=holder, by=office.people["ana"])
        office.world.later(3601)
        office.world.engine.sweep()
        mailbox.got.clear()
        office.send()
        assert mailbox.recipients() == expected
        office.world.engine.cancel(run_id, reason="done", by=ADMIN)


def test_who_is_disabled_is_not_told(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    office.add("user:ben", mailbox)
    update_principal(office.world.engine.database, "ana", disabled=True)
    office.world.start(GATE, {"amount": 40})
    office.send()
    assert mailbox.recipients() == {"ben@example.com"}


@pytest.mark.parametrize("four_eyes", [True, False])
def test_nobody_is_asked_to_decide_what_they_started_themselves(
    office: Office, mailbox: Mailbox, four_eyes: bool
) -> None:
    lead = office.person("lea", "leads", roles=("requester", "reviewer"))
    office.add("user:lea", mailbox, "gate.opened")
    office.world.start(_titled("x", four_eyes=four_eyes), {"amount": 40}, by=lead)
    office.send()
    assert len(mailbox.got) == (0 if four_eyes else 1)


def test_nothing_that_others_said_is_told_while_a_blind_gate_is_open(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ben", mailbox, "gate.decided", payload=True)
    flow = graph(
        step("draft", "ok", takes=("feedback",)),
        gate("ok", "pay", blind=True, options=STANDARD, changes_to="draft"),
        pay(),
        name="blind",
    )
    run_id = office.world.start(flow, {})
    office.world.work(run_id, {"amount": 40})
    office.world.decide(run_id, office.people["ana"], "request_changes", note=CANARY)
    # It is told late, when there is a new draft to judge.
    office.world.work(run_id, {"amount": 30})
    office.send()
    assert [each.partition(":")[0] for each in mailbox.subjects()] == ["Decided"]
    said = _bodies(mailbox)
    assert not [word for word in (CANARY, "ana", "changes requested") if word in said]
    office.world.decide(run_id, office.people["ana"], "approve")
    office.send()
    assert "By: ana" in _bodies(mailbox)


def test_who_is_asked_too_late_is_told_so(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox, "gate.opened")
    run_id = office.world.start(GATE, {"amount": 40})
    office.world.decide(run_id, office.people["ben"], "approve")
    office.send()
    assert "no longer open" in texts(mailbox.got[0])[0]


def test_a_payload_is_sent_only_where_it_is_asked_for(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    office.add("user:ben", mailbox, payload=True)
    office.world.start(GATE, {"amount": 40, "note": CANARY})
    office.send()
    with_it = {str(each["To"]) for each in mailbox.got if CANARY in "".join(texts(each))}
    assert with_it == {"ben@example.com"}


def test_a_title_can_make_no_header_and_hide_nothing(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    bad = "Refund\r\nBcc: eve@example.com\r\n\r\nHi \u202eevil\u200b <b>now</b> https://evil.example @everyone {amount}"
    office.world.start(_titled(bad), {"amount": 40})
    office.send()
    (mail,) = mailbox.got
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])
    text, page = texts(mail)
    assert "⟦U+202E⟧" in text
    assert "⟦U+202E⟧" in page
    assert "&lt;b&gt;now&lt;/b&gt;" in page
    for said in (text, page, str(mail["Subject"])):
        assert "\u202e" not in said
        assert "https://evil" not in said, "no program makes a link of it"
        assert "@everyone" not in said


def test_without_channels_nothing_is_kept(office: Office) -> None:
    office.world.start(GATE, {"amount": 40})
    assert office.world.sql("SELECT count(*) FROM notification_events") == [(0,)]


def test_what_is_undone_is_not_told(office: Office, mailbox: Mailbox) -> None:
    office.add("user:ana", mailbox)
    office.world.start(GATE, {"amount": 1})

    def undo(*_: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        office.world.engine.start(
            workflow="gate",
            input={"amount": 2},
            requester=principal("portal", kind="service", roles=("requester",)),
            look=undo,
        )
    assert office.send() == 1
