"""Who stands in for somebody away is told what they would be, through channels of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.integration.engine.world import REQUESTER
from tests.integration.notifications.mail import Mailbox, Office
from tests.unit.transitions.graphs import gate, graph, pay, remind

from signoff.store import notification_events
from signoff.store.delegations import NewDelegation

ASKS_ANA = graph(gate("ok", "pay", reviewers=("user:ana",), ladder=(remind(3_600_000),)), pay(), name="asks-ana")
TO_ANA = graph(gate("ok", "pay", assign="user:ana"), pay(), name="to-ana")
ASKS_LEADS = graph(gate("ok", "pay"), pay(), name="asks-leads")


@pytest.fixture(autouse=True)
def _people(office: Office) -> None:
    office.person("cleo")


def away(office: Office, who: str = "ana", to: str = "cleo", **asked: object) -> None:
    until = office.world.now() + timedelta(days=9)
    given = NewDelegation(**({"kind": "absence", "delegate": to, "until_at": until} | asked))  # type: ignore[arg-type]
    office.world.engine.delegate(given, by=office.people[who])


def told(office: Office, mailbox: Mailbox, names: Iterable[str] = ("ana", "cleo")) -> set[str]:
    """Who gets a mail of all that has happened."""
    office.send()
    return {name for name in names if f"{name}@example.com" in mailbox.recipients()}


def test_who_stands_in_is_told_when_it_opens_and_what_became_of_it(office: Office, mailbox: Mailbox) -> None:
    for name in ("ana", "cleo"):
        office.add(f"user:{name}", mailbox)
    away(office)
    run_id = office.world.start(ASKS_ANA, {"amount": 1})
    assert told(office, mailbox) == {"ana", "cleo"}
    mailbox.got.clear()
    office.world.decide(run_id, office.people["cleo"], "approve")
    assert told(office, mailbox) == {"ana", "cleo"}


def test_an_absence_that_begins_later_lets_them_be_told_from_then_on(office: Office, mailbox: Mailbox) -> None:
    office.add("user:cleo", mailbox)
    office.world.start(ASKS_ANA, {"amount": 1})
    office.world.start(TO_ANA, {"amount": 1})
    assert told(office, mailbox) == set()
    away(office)
    office.world.later(3_700)
    office.world.engine.sweep()
    assert told(office, mailbox) == {"cleo"}
    (mail,) = mailbox.got
    assert str(mail["Subject"]).startswith("Reminder: ")


@pytest.mark.parametrize("what", ["a delegation", "a group", "over", "under four eyes"])
def test_who_stands_in_for_nobody_who_is_asked_is_not_told(office: Office, mailbox: Mailbox, what: str) -> None:
    office.add("user:cleo", mailbox)
    ana = replace(office.people["ana"], roles=frozenset({"requester"}))
    office.world.start(
        ASKS_LEADS if what == "a group" else ASKS_ANA, {"amount": 1}, by=ana if "eyes" in what else REQUESTER
    )
    away(office, kind="delegation" if what == "a delegation" else "absence")
    office.world.later(10 * 86_400 if what == "over" else 3_700)
    office.world.engine.sweep()
    assert told(office, mailbox) == set()


def test_the_words_that_tell_them_are_what_tells_them(
    office: Office, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "d.kind = 'absence'" in notification_events._EXPAND
    without = notification_events._EXPAND.replace("WHERE d.delegate_id = p.id", "WHERE false")
    monkeypatch.setattr(notification_events, "_EXPAND", without)
    with pytest.raises(AssertionError):
        test_an_absence_that_begins_later_lets_them_be_told_from_then_on(office, mailbox)
