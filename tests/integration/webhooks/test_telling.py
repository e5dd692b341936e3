"""What is told: every event once, with the transaction that made it, signed, and nothing that was not asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from standardwebhooks import WebhookVerificationError
from tests.integration.engine.flows import CHAIN, GATE, REFUND
from tests.integration.engine.world import ADMIN, ANA, REQUESTER, World
from tests.integration.webhooks.receiver import Received, Sender, receiver

from signoff.errors import LeaseLost, NotFound
from signoff.model import SYSTEM
from signoff.store.webhooks import get_endpoint, list_endpoints, remove_endpoint, rotate_secret
from signoff.webhooks.catalogue import MAX_BODY_BYTES, TOLD_NAMES

CANARY = "canary-7f3a"


def _every_event(world: World) -> None:
    """Runs that between them have everything that is told."""
    run_id = world.start(REFUND, {"note": CANARY}, labels={"team": "eu"})
    world.work(run_id, {"amount": 40, "note": CANARY})
    world.decide(run_id, ANA, "request_changes", note=CANARY)
    world.work(run_id, {"amount": 30, "note": CANARY})
    world.decide(run_id, ANA, "approve")
    world.work(run_id, {"paid": CANARY})
    world.work(run_id, CANARY)
    late = world.start(GATE, {"amount": 1, "note": CANARY})
    slow = world.start(REFUND, {"note": CANARY})
    world.work(slow, {"amount": 40, "note": CANARY})
    world.later(3600)
    world.engine.sweep()
    world.later(3600)
    world.engine.sweep()
    world.engine.cancel(slow, reason=CANARY, by=ADMIN)
    broken = world.start(CHAIN, {"note": CANARY})
    world.fail(broken, retryable=False, code="step_raised")
    assert world.kinds(late)[-1] in ("run.completed", "run.failed", "run.canceled")


def _logged(world: World) -> list[str]:
    return sorted(row[0] for row in world.sql("SELECT type FROM events WHERE type = ANY(%s)", sorted(TOLD_NAMES)))


def _text(received: list[Received]) -> str:
    return "\n".join(each.body.decode() for each in received)


def test_every_event_is_told_once_and_the_package_of_the_scheme_verifies_it(sender: Sender) -> None:
    with receiver() as there:
        endpoint, secret = sender.add(there)
        _every_event(sender.world)
        assert sender.send(there) == len(_logged(sender.world))
        assert there.kinds() == _logged(sender.world)
        assert set(there.kinds()) == TOLD_NAMES
        assert len({each.id for each in there.got}) == len(there.got)
        for each in there.got:
            said = each.verified(secret)
            assert set(said) == {"type", "timestamp", "data"}
            assert {"run_id", "seq", "workflow", "version", "labels"} <= set(said["data"])
            assert each.path == "/hook?from=signoff"
        assert sender.send(there) == 0, "and never again"
        assert {each.state for each in sender.deliveries(endpoint)} == {"delivered"}


def test_no_value_of_a_run_is_told_unless_the_endpoint_asks_for_it(sender: Sender) -> None:
    with receiver() as bare, receiver() as full:
        sender.add(bare)
        sender.add(full, include_payload=True)
        _every_event(sender.world)
        sender.send(bare, full)
        assert len(bare.got) == len(full.got) > 0
        assert CANARY not in _text(bare.got)
        told = [orjson.loads(each.body) for each in full.got]
        assert any(CANARY in str(said["data"].get("payload")) for said in told if said["type"] == "gate.opened")
        assert any(said["data"].get("reason") == CANARY for said in told if said["type"] == "run.canceled")
        assert [said["data"]["payload"] for said in told if said["type"] == "run.completed"].count(CANARY) == 1


def test_a_body_stays_small_whatever_a_run_carries(sender: Sender) -> None:
    with receiver() as there:
        sender.add(there, include_payload=True)
        sender.world.start(GATE, {"amount": 1, "text": "x" * (MAX_BODY_BYTES + 1)})
        sender.world.start(GATE, {"amount": 1, "text": "x" * (MAX_BODY_BYTES // 2)})
        sender.send(there)
        sizes = sorted(len(each.body) for each in there.got)
        assert sizes[0] < 1024, "it is sent without the payload"
        assert MAX_BODY_BYTES // 2 < sizes[1] <= MAX_BODY_BYTES


def test_what_is_undone_is_not_told(sender: Sender) -> None:
    world = sender.world
    with receiver() as there:
        endpoint, _ = sender.add(there)
        world.start(GATE, {"amount": 1})

        def undo(*_: Any) -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            world.engine.start(workflow="gate", input={"amount": 2}, requester=REQUESTER, look=undo)
        assert [each.type for each in sender.deliveries(endpoint)] == ["gate.opened"]


def test_a_worker_that_was_given_up_tells_nothing(sender: Sender) -> None:
    world = sender.world
    with receiver() as there:
        endpoint, _ = sender.add(there)
        run_id = world.start(CHAIN, {})
        world.work(run_id, 1)
        world.work(run_id, 2)
        claimed = world.claim(run_id)
        world.later(60)
        world.engine.sweep()
        with pytest.raises(LeaseLost):
            world.engine.complete(claimed, 3, worker="w1", go_on=False)
        assert sender.deliveries(endpoint) == []
        world.work(run_id, 3)
        assert [each.type for each in sender.deliveries(endpoint)] == ["run.completed"]


def test_an_endpoint_is_told_only_what_it_asked_for(sender: Sender) -> None:
    with receiver() as there:
        sender.add(there, "run.failed", "gate.decided")
        _every_event(sender.world)
        sender.send(there)
        assert set(there.kinds()) == {"run.failed", "gate.decided"}


def test_without_endpoints_nothing_is_kept(sender: Sender) -> None:
    _every_event(sender.world)
    assert sender.world.sql("SELECT count(*) FROM webhook_deliveries") == [(0,)]
    assert sender.due() == []


def test_both_secrets_sign_while_one_takes_over_from_the_other(sender: Sender) -> None:
    world = sender.world
    with receiver() as there:
        endpoint, old = sender.add(there)
        new = rotate_secret(world.engine.database, endpoint.id, overlap=timedelta(hours=1))
        assert new != old
        world.start(GATE, {"amount": 1})
        sender.send(there)
        (both,) = there.got
        assert both.verified(old) == both.verified(new)
        world.later(3601)
        world.start(GATE, {"amount": 1})
        sender.send(there)
        later = next(each for each in there.got[1:] if b"gate.opened" in each.body)
        later.verified(new)
        with pytest.raises(WebhookVerificationError):
            later.verified(old)


def test_a_secret_is_in_nothing_that_is_shown(sender: Sender) -> None:
    with receiver() as there:
        endpoint, secret = sender.add(there)
        shown = str([each.to_json() for each in list_endpoints(sender.world.engine.database)])
        assert str(endpoint.id) in shown
        assert secret not in shown + repr(endpoint)


def test_an_endpoint_that_is_removed_is_told_nothing_more(sender: Sender) -> None:
    with receiver() as there:
        endpoint, _ = sender.add(there)
        sender.world.start(GATE, {"amount": 1})
        remove_endpoint(sender.world.engine.database, endpoint.id)
        sender.world.start(GATE, {"amount": 1})
        assert sender.send(there) == 0
        assert there.got == []
        with pytest.raises(NotFound):
            get_endpoint(sender.world.engine.database, endpoint.id)
    assert SYSTEM.name == endpoint.created_by.name
