"""Signatures, and what a secret is."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from tests.mutants import mutate

from signoff.errors import InvalidInput
from signoff.webhooks.signing import headers, key_of, new_secret, verified

BODY = b'{"type":"gate.opened","data":{"title":"\xc3\xa9"}}'


def test_the_package_of_the_scheme_verifies_what_we_sign() -> None:
    secret = new_secret()
    made = headers("msg_1", int(time.time()), BODY, [secret])
    assert Webhook(secret).verify(BODY, made)["type"] == "gate.opened"


@pytest.mark.parametrize(
    ("name", "value"),
    [("webhook-id", "msg_2"), ("webhook-timestamp", str(int(time.time()) - 7)), ("webhook-signature", "v1,AAAA")],
    ids=["id", "timestamp", "signature"],  # a moment is no name: each test process would give it another
)
def test_what_is_changed_on_the_way_is_noticed(name: str, value: str) -> None:
    secret = new_secret()
    made = headers("msg_1", int(time.time()), BODY, [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, made | {name: value})
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", made)


def test_each_of_several_secrets_verifies_and_no_other_does() -> None:
    secrets = [new_secret(), new_secret()]
    made = headers("msg_1", int(time.time()), BODY, secrets)
    for secret in secrets:
        Webhook(secret).verify(BODY, made)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, made)


def test_a_signature_is_what_the_scheme_publishes_as_its_example() -> None:
    made = headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_new_each_time_and_long_enough() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(key_of(each)) for each in made} == {32}


@pytest.mark.parametrize("size", [0, 16, 23, 65, 200])
def test_a_secret_that_is_too_short_or_too_long_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput):
        key_of("whsec_" + base64.b64encode(b"k" * size).decode())


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_!!!!", base64.b64encode(b"k" * 32).decode(), "whsec_é"])
def test_what_is_no_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        key_of(text)
    assert not text or text == "whsec_" or text not in str(refused.value)


NOW = 1_764_000_000


def _sign(secret: str, body: bytes = BODY, *, message_id: str = "msg_1", at: int = NOW) -> dict[str, str]:
    """As the package of the scheme signs."""
    made = Webhook(secret).sign(message_id, datetime.fromtimestamp(at, tz=UTC), body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": made}


def test_what_the_package_of_the_scheme_signs_is_verified_by_any_of_our_secrets() -> None:
    first, second = new_secret(), new_secret()
    for secret in (first, second):
        assert verified(_sign(secret), BODY, [first, second], now=NOW) == "msg_1"
        both = _sign(secret)
        both["webhook-signature"] = f"v1,AAAA v2,x {both['webhook-signature']}"
        assert verified(both, BODY, [first, second], now=NOW) == "msg_1"
    assert verified(_sign(new_secret()), BODY, [first, second], now=NOW) is None
    assert verified(_sign(first), BODY, [], now=NOW) is None


@pytest.mark.parametrize("off", [-300, -299, 0, 299, 300])
def test_a_clock_may_be_five_minutes_off(off: int) -> None:
    secret = new_secret()
    assert verified(_sign(secret, at=NOW + off), BODY, [secret], now=NOW) == "msg_1"


@pytest.mark.parametrize("off", [-301, 301, -86_400, 86_400])
def test_and_no_more(off: int) -> None:
    secret = new_secret()
    assert verified(_sign(secret, at=NOW + off), BODY, [secret], now=NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-id": "x" * 256},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": f"{NOW}.0"},
        {"webhook-timestamp": f" {NOW}"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "é"},
    ],
    ids=str,
)
def test_whatever_is_not_as_it_was_signed_is_refused(change: dict[str, str]) -> None:
    secret = new_secret()
    assert verified(_sign(secret) | change, BODY, [secret], now=NOW) is None
    assert verified({}, BODY, [secret], now=NOW) is None
    assert verified(_sign(secret), BODY + b" ", [secret], now=NOW) is None


def test_another_version_of_the_scheme_is_not_taken_for_this_one() -> None:
    secret = new_secret()
    made = _sign(secret)
    assert verified(made | {"webhook-signature": made["webhook-signature"].replace("v1,", "v2,")}, BODY, [secret],
                    now=NOW) is None  # fmt: skip


def test_no_part_reaches_into_the_next() -> None:
    """What was signed as id `a`, time 1 and body `2.{}` is not the message `a.1` of time 2 with the body `{}`."""
    secret = new_secret()
    made = _sign(secret, f"{NOW}.{{}}".encode(), message_id="a", at=NOW)
    assert verified(made, f"{NOW}.{{}}".encode(), [secret], now=NOW) == "a"
    assert verified(made | {"webhook-id": f"a.{NOW}"}, b"{}", [secret], now=NOW) is None


def test_of_many_signatures_only_the_first_are_tried() -> None:
    secret = new_secret()
    made = _sign(secret)
    assert verified(made | {"webhook-signature": "v1,AAAA " * 10 + made["webhook-signature"]}, BODY, [secret],
                    now=NOW) is None  # fmt: skip


MUTANTS = {
    "anything that is signed": (" if found and fresh and keys else None", " if fresh and keys else None"),
    "however old": (" if found and fresh and keys else None", " if found and keys else None"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_check_that_is_taken_out_is_missed(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    mutate(monkeypatch, verified, *MUTANTS[mutant])
    secret = new_secret()
    given = _sign(new_secret()) if mutant == "anything that is signed" else _sign(secret, at=NOW - 400)
    assert verified(given, BODY, [secret], now=NOW) == "msg_1"
