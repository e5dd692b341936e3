"""Signatures, and what a secret is."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from signoff.errors import InvalidInput
from signoff.webhooks.signing import headers, key_of, new_secret

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
