"""A mail that asks one person carries a link for them alone; mail for many does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.integration.engine.world import RecordingPublisher
from tests.integration.inbox.desk import Desk, open_desk
from tests.integration.notifications.mail import OPERATOR, Mailbox, texts
from tests.mutants import mutate

from signoff.engine import Engine, channels
from signoff.store.notification_events import expand
from signoff.store.notifications import due_channels
from signoff_workers import notifications
from signoff_workers.notifications import Courier

PAYLOAD = {"amount": "640.00", "order_id": "A-881"}


@dataclass
class Post:
    """The pages, and the worker that writes to the people who use them."""

    desk: Desk
    mailbox: Mailbox

    def add(self, *subjects: str) -> None:
        database, settings = self.desk.engine.database, self.desk.settings
        for subject in subjects:
            url = self.mailbox.url(f"{subject.partition(':')[2]}@example.com")
            channels.add(database, settings, subject=subject, url=url, events=(), include_payload=False, by=OPERATOR)

    def links(self, **options: object) -> dict[str, str | None]:
        """Send what is due; the path of the link in each receiver's mail."""
        core = self.desk.engine
        settings = core.settings.model_copy(update=options)
        courier = Courier.of(Engine(database=core.database, publisher=RecordingPublisher(), settings=settings))
        with core.database.transaction() as cursor:
            expand(cursor, limit=1000)
        with core.database.autocommit() as cursor:
            due = due_channels(cursor, hold_seconds=30)
        for channel in due:
            courier.serve(channel)
        return {str(mail["To"]).partition("@")[0]: _link(mail) for mail in self.mailbox.got}


def _link(mail: object) -> str | None:
    found = [re.search(r"https://localhost(/l/[A-Za-z0-9_-]+)", text) for text in texts(mail)]  # type: ignore[arg-type]
    plain, page = (each[1] if each else None for each in found)
    assert plain == page
    return plain


@pytest.fixture
def post(database_url: str, valkey_url: str, mailbox: Mailbox) -> Iterator[Post]:
    with open_desk(database_url, valkey_url, public_url="https://localhost", notify_burst=3) as desk:
        made = Post(desk, mailbox)
        made.add("user:ana", "user:sam", "group:leads")
        yield made


def test_the_mail_to_a_person_has_a_link_that_works_once_they_have_signed_in(post: Post) -> None:
    desk = post.desk
    task = desk.start("refund", PAYLOAD)
    sent = post.links()
    assert sent.keys() == {"ana", "sam", "leads"}
    assert sent["leads"] is None, "a group's mail is read by anybody in it"
    assert sent["ana"] is not None
    assert sent["ana"] != sent["sam"]
    browser = desk.browser()
    browser.get(sent["ana"])
    assert browser.path.startswith("/sign-in?"), "the mail alone opens nothing"
    browser.press("Sign in", key=desk.keys["ana"])
    form = browser.page.one("form", action=f"{browser.path}/decide")
    data = {node.attrs["name"]: node.value for node in form.find("input", type="hidden")}
    assert browser.send("POST", f"{browser.path}/decide", data=data | {"decision": "approve"}).status_code == 303
    assert [said[4] for said in desk.said(task)] == ["link"]
    assert desk.row(task)[0] == "completed"


def test_who_could_not_decide_and_who_is_told_of_many_at_once_get_none(post: Post) -> None:
    desk = post.desk
    tasks = [desk.start("plain", PAYLOAD) for _ in range(5)]
    assert post.links() == {"ana": None, "sam": None, "leads": None}, "a digest"
    assert desk.sql("SELECT 1 FROM task_links WHERE human_task_id = ANY(%s)", tasks) == []


def test_where_links_are_switched_off_none_is_made(post: Post) -> None:
    post.desk.start("plain", PAYLOAD)
    assert post.links(notify_task_links=False) == {"ana": None, "sam": None, "leads": None}
    assert post.desk.sql("SELECT 1 FROM task_links") == []


def test_but_for_its_guard_a_link_would_go_to_a_group(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded = (
        "person is not None and facts.kind in ASKING:\n        link = engine.task_link(facts.human_task_id, person)"
    )
    unguarded = "facts.kind in ASKING:\n        link = engine.task_link(facts.human_task_id, person or 'ana')"
    mutate(monkeypatch, notifications.address_of, guarded, unguarded)
    post.desk.start("plain", PAYLOAD)
    assert post.links()["leads"] is not None
