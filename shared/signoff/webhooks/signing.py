"""Signatures by the Standard Webhooks scheme: HMAC-SHA256 over id, timestamp and body, one a secret.

https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence

from signoff.errors import InvalidInput

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
_NEW_BYTES = 32

TOLERANCE_SECONDS = 300
"""How far a sender's clock may be off, and so how long a message that was listened to could be sent again."""
MAX_SIGNATURES = 10
_NO_KEY = b"\0" * _NEW_BYTES

# Without a dot: the signed text is id, timestamp and body joined by dots, and none of them may reach into the next.
_ID = re.compile(r"[!-\-/-~]{1,255}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")


def new_secret() -> str:
    """A secret as receivers are given it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NEW_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key within a secret. Raises InvalidInput when it is none; the message does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("the secret is no base64") from error
    if not secret.startswith(PREFIX) or not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise InvalidInput(f"a secret is {PREFIX} and {MIN_BYTES} to {MAX_BYTES} bytes in base64")
    return key


def headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The three headers; `timestamp` is in seconds since 1970, `keys` are secrets, the newest first."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    made = (hmac.new(key_of(secret), signed, hashlib.sha256).digest() for secret in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in made),
    }


def verified(given: Mapping[str, str], body: bytes, keys: Sequence[str], *, now: float) -> str | None:
    """The id of a message that one of these secrets has signed just now, else None.

    `given` are the request's headers by their lower-case names, `now` seconds since 1970. It computes and compares the
    same without any secret, so the time it takes does not tell who is known.
    """
    message_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    formed = _ID.fullmatch(message_id) is not None and _TIMESTAMP.fullmatch(timestamp) is not None
    fresh = formed and abs(now - int(timestamp)) <= TOLERANCE_SECONDS
    signed = f"{message_id}.{timestamp}.".encode(errors="replace") + body
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in map(key_of, keys)]
    expected = expected or [hmac.new(_NO_KEY, signed, hashlib.sha256).digest()]
    found = False
    for signature in given.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]:
        version, _, text = signature.partition(",")
        for each in expected:
            same = hmac.compare_digest(base64.b64encode(each), text.encode(errors="replace"))
            found = found or (same and version == "v1")
    return message_id if found and fresh and keys else None
