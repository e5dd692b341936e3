"""Signatures by the Standard Webhooks scheme: HMAC-SHA256 over id, timestamp and body, one a secret.

https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from signoff.errors import InvalidInput

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
_NEW_BYTES = 32


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
