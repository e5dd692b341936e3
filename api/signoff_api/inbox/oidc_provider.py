"""An OpenID provider, as far as signing in needs it: where it is, its keys, and what its ID tokens say.

Nothing it says is believed before it is checked: endpoints lead to https, an ID token is signed by one of its keys
with an algorithm that a setting names, and is for us, for this sign-in and for now.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import orjson
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwk, jwt
from joserfc.errors import InvalidKeyIdError, JoseError

from signoff.errors import Forbidden, Unavailable
from signoff_api.inbox.oidc_fetch import fetch, is_safe

LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""

KEPT_SECONDS = 3_600
"""How long discovery and keys are believed without asking again."""

REFETCH_SECONDS = 30
"""The shortest time between two looks for a key that is not known: whoever invents key ids causes no traffic."""

RETRY_SECONDS = 2
"""After a failure nothing is asked for this long: a provider that is away does not hold every thread."""

MAX_AT_ONCE = 4
"""Threads of one process that wait for the provider; the others serve the pages."""

MAX_KEYS = 32
MIN_RSA_BITS = 2_048
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")

_log = structlog.get_logger("signoff.inbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How the provider knows us, and what we believe of it."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...]
    algorithms: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The last good answer at one address, or when it was last asked in vain; replaced as a whole."""

    value: dict[str, Any] | None = None
    good_at: float = -1e9
    failed_at: float = -1e9


class Provider:
    """One provider. Safe to share between threads; asks nothing before the first sign-in."""

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)

    def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes. Raises Unavailable."""
        mine = self.registration
        url: str = prepare_grant_uri(
            self._endpoints()["authorization_endpoint"],
            client_id=mine.client_id,
            response_type="code",
            redirect_uri=mine.redirect_uri,
            scope=list(mine.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return url

    def check_sender(self, issuer: str | None) -> None:
        """RFC 9207: the answer is from this provider, where it says from whom it is. Raises Forbidden, Unavailable."""
        says_so = self._endpoints().get("authorization_response_iss_parameter_supported") is True
        if issuer != self.registration.issuer and (issuer is not None or says_so):
            raise _not_for_us("the answer is from another issuer")

    def claims(self, code: str, *, verifier: str, nonce: str) -> dict[str, Any]:
        """What the ID token says that `code` is exchanged for. Raises Forbidden, Unavailable."""
        answer = self._exchange(code, verifier)
        token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str) or not token.isascii():
            raise _not_for_us("there is no ID token")
        try:
            return self._checked(token, nonce=nonce, access_token=access_token)
        # What hostile JSON makes a library trip over is a refusal, too.
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _not_for_us(f"{type(error).__name__}: {error}") from error

    def _checked(self, token: str, *, nonce: str, access_token: object) -> dict[str, Any]:
        mine = self.registration
        try:
            found = jwt.decode(token, self._keys(), algorithms=list(mine.algorithms))
        except InvalidKeyIdError:
            # Providers change their keys.
            found = jwt.decode(token, self._keys(fresh=True), algorithms=list(mine.algorithms))
        claims = CodeIDToken(
            found.claims,
            found.header,
            options={
                "iss": {"essential": True, "value": mine.issuer},
                "aud": {"essential": True, "value": mine.client_id},
            },
            params={"nonce": nonce, "client_id": mine.client_id, "access_token": access_token},
        )
        claims.validate(now=int(time.time()), leeway=LEEWAY_SECONDS)
        return dict(claims)

    def _exchange(self, code: str, verifier: str) -> dict[str, Any]:
        mine = self.registration
        endpoints = self._endpoints()
        secret = {"client_secret": mine.client_secret}
        headers = {}
        if _takes_basic(endpoints):
            secret = {}
            pair = f"{quote_plus(mine.client_id)}:{quote_plus(mine.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        form: str = prepare_token_request(
            "authorization_code",
            redirect_uri=mine.redirect_uri,
            code=code,
            client_id=mine.client_id,
            code_verifier=verifier,
            **secret,
        )
        with self._place():
            status, answer = self._ask(endpoints["token_endpoint"], form=form.encode(), headers=headers)
        if status in (400, 401, 403):
            raise _not_for_us(f"the code is not accepted: {str(answer.get('error'))[:40]!a}")
        if status != 200:
            raise Unavailable("the sign-in provider does not work at the moment")
        return answer

    def _endpoints(self) -> dict[str, Any]:
        issuer = self.registration.issuer
        address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._document(address)
        if found.get("issuer") != issuer:
            self._forget(address)
            raise Unavailable("the sign-in provider calls itself by another name than SIGNOFF_OIDC_ISSUER")
        for name in _ENDPOINTS:
            if not isinstance(found.get(name), str) or not is_safe(found[name]):
                self._forget(address)
                raise Unavailable(f"the sign-in provider names no safe {name}")
        return found

    def _keys(self, *, fresh: bool = False) -> jwk.KeySet:
        """The keys that may sign ID tokens. Raises Unavailable, and JoseError for what are none."""
        address = self._endpoints()["jwks_uri"]
        found = self._document(address, fresh=fresh).get("keys")
        keys: list[jwk.Key] = []
        for each in found[:MAX_KEYS] if isinstance(found, list) else []:
            if isinstance(each, dict) and _may_sign(each):
                # A key that is none does not take the others along.
                with suppress(JoseError, ValueError, TypeError):
                    keys.append(jwk.import_key(each))
        if not keys:
            self._forget(address)
            raise Unavailable("the sign-in provider has no keys that sign")
        return jwk.KeySet(keys)

    def _document(self, url: str, *, fresh: bool = False) -> dict[str, Any]:
        """The JSON at `url`, as it was within the last hour; `fresh` asks again, if that was not done just now."""
        found = self._known(url, fresh=fresh)
        if found is not None:
            return found
        with self._place():
            if not self._lock.acquire(timeout=self.registration.seconds):
                raise Unavailable("the sign-in provider takes too long")
            try:
                # Whoever had the lock may have asked for the same.
                found = self._known(url, fresh=fresh)
                return found if found is not None else self._fetched(url)
            finally:
                self._lock.release()

    def _known(self, url: str, *, fresh: bool) -> dict[str, Any] | None:
        """What is kept of it, if that is new enough. Raises Unavailable where it could not be had just now."""
        kept, now = self._kept.get(url, _Kept()), time.monotonic()
        if kept.value is not None and now - kept.good_at < (REFETCH_SECONDS if fresh else KEPT_SECONDS):
            return kept.value
        if now - kept.failed_at < RETRY_SECONDS:
            raise Unavailable("the sign-in provider is not reachable")
        return None

    def _fetched(self, url: str) -> dict[str, Any]:
        try:
            status, found = self._ask(url)
        except Unavailable:
            self._forget(url)
            raise
        if status != 200:
            self._forget(url)
            raise Unavailable("the sign-in provider does not work at the moment")
        self._kept[url] = _Kept(value=found, good_at=time.monotonic())
        return found

    def _forget(self, url: str) -> None:
        """What is there is of no use: ask again, though not at once."""
        self._kept[url] = _Kept(failed_at=time.monotonic())

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the few threads that may wait for the provider."""
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many people sign in at this moment", fix="try again in a moment")
        try:
            yield
        finally:
            self._places.release()

    def _ask(self, url: str, **options: Any) -> tuple[int, dict[str, Any]]:
        answer = fetch(url, seconds=self.registration.seconds, **options)
        try:
            found = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise Unavailable("the sign-in provider answers with something that is no JSON") from error
        if not isinstance(found, dict):
            raise Unavailable("the sign-in provider answers with something else than was asked for")
        return answer.status, found


def _may_sign(key: Mapping[str, Any]) -> bool:
    # A key for encryption vouches for nothing, and a short one can be broken.
    bits = len(str(key.get("n", ""))) * 6
    return key.get("use", "sig") == "sig" and (key.get("kty") != "RSA" or bits >= MIN_RSA_BITS)


def _takes_basic(endpoints: Mapping[str, Any]) -> bool:
    methods = endpoints.get("token_endpoint_auth_methods_supported")
    return not isinstance(methods, list) or "client_secret_basic" in methods or "client_secret_post" not in methods


def _not_for_us(why: str) -> Forbidden:
    # Why goes to the log: what the provider says is not ours to show, and of no use to who signs in.
    _log.warning("sign_in_refused", why=why[:200])
    return Forbidden(
        "the provider's answer is not one to this sign-in", fix="begin again; if it happens again, tell us"
    )
