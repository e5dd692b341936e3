"""The HTTP API as the command line calls it: bounded in time and size, its problems turned into errors."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from signoff.errors import ConfigurationError, SignoffError, Unavailable

BASE = "/api/v1"
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_PACK_BYTES = 4 * 1024 * 1024 * 1024
"""An evidence pack is written as it arrives; this bounds what a wrong address could fill a disk with."""
CALL_SECONDS = 30.0
MAX_TRIES = 4
MAX_PAUSE_SECONDS = 5.0
PAGE = 200
_CHUNK = 64 * 1024

_FIXES = {
    "unauthenticated": "check --key and $SIGNOFF_API_KEY; `signoff key create NAME` makes one, next to the database",
    "not_found": "`signoff runs` and `signoff inbox` list what you may see; --as or --key says who you are",
}
"""What a person at a terminal can do where the API, which can't know that it is one, names no fix."""

Query: TypeAlias = Sequence[tuple[str, str]]


class ApiProblem(SignoffError):
    """The API refused. `problem` is its problem document (RFC 9457), `status` the HTTP status."""

    code = "api"

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        code = str(problem.get("code") or f"http_{status}")
        fix = problem.get("fix") or _FIXES.get(code)
        super().__init__(
            str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"),
            code=code,
            fix=str(fix) if fix else None,
        )


class ConnectionLost(Unavailable):
    """The connection to the API broke, or it did not answer in time."""

    code = "unavailable"

    def __init__(self, detail: str, *, sent: bool, fix: str | None = None) -> None:
        self.sent = sent
        """Whether the request may have been carried out."""
        super().__init__(detail, fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    body: Any


def path(*segments: object) -> str:
    """A path below the base from its segments, each quoted."""
    return BASE + "".join(f"/{quote(str(segment), safe='')}" for segment in segments)


class Client:
    """Calls one API with one key; a context manager. Keeps its connection between calls; not for several threads."""

    def __init__(
        self, api_url: str, key: str | None, *, seconds: float = CALL_SECONDS, hint: str | None = None
    ) -> None:
        self.url = api_url
        self._parts = _parse(api_url)
        self._key = key
        self._seconds = seconds
        self._hint = hint
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def get(self, where: str, query: Query = ()) -> Any:
        """The body of a GET. Raises ApiProblem, ConnectionLost; tried again while the API is away for a moment."""
        return self._repeat(lambda: self._call("GET", _with_query(where, query)), repeatable=True).body

    def post(self, where: str, body: Any, *, idempotency_key: str | None = None, repeatable: bool = False) -> Answer:
        """A POST. With an idempotency key, or where saying it twice is the same as once, it is tried again when the
        connection breaks; otherwise only when the request was surely not carried out.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        repeatable = repeatable or idempotency_key is not None
        return self._repeat(lambda: self._call("POST", where, body, headers), repeatable=repeatable)

    def put(self, where: str, body: Any) -> Any:
        """The body that a PUT is answered with; said twice it is the same as once."""
        return self._repeat(lambda: self._call("PUT", where, body), repeatable=True).body

    def delete(self, where: str) -> Any:
        """The same for a DELETE."""
        return self._repeat(lambda: self._call("DELETE", where), repeatable=True).body

    def items(self, where: str, query: Query, limit: int) -> tuple[list[Any], str | None]:
        """Up to `limit` items of a list, page by page, and the cursor to go on with."""
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < limit:
            page = [("limit", str(min(limit - len(found), PAGE)))]
            page += [("cursor", cursor)] if cursor is not None else []
            body = self.get(where, [*query, *page])
            found += body["items"]
            cursor = body["next_cursor"]
            if cursor is None:
                break
        return found, cursor

    def events(self, run_id: str, after: int = 0) -> Iterator[Any]:
        """A run's log behind number `after`, oldest first."""
        while True:
            body = self.get(path("runs", run_id, "events"), [("after", str(after)), ("limit", str(PAGE))])
            yield from body["items"]
            if body["next_cursor"] is None or not body["items"]:
                return
            after = body["items"][-1]["seq"]

    def download(self, where: str, write: Callable[[bytes], object]) -> int:
        """Hand the body of a GET to `write` piece by piece; answers its size in bytes."""
        response = self._send("GET", where, None, {})
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            self._refuse(response, self._read(response, MAX_ANSWER_BYTES, self._deadline()))
        size = 0
        try:
            while piece := response.read1(_CHUNK):
                size += len(piece)
                if size > MAX_PACK_BYTES:
                    raise _too_large(self.url, MAX_PACK_BYTES)
                write(piece)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error, sent=True) from error
        finally:
            self.close()
        return size

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _repeat(self, call: Callable[[], Answer], *, repeatable: bool) -> Answer:
        pause = 0.2
        for _ in range(MAX_TRIES - 1):
            try:
                return call()
            except ApiProblem as error:
                if error.status != http.HTTPStatus.SERVICE_UNAVAILABLE or not repeatable:
                    raise
            except ConnectionLost as error:
                # Nobody listens: a stopped `signoff dev` does not come back within seconds.
                if not error.sent or not repeatable:
                    raise
            time.sleep(min(pause, MAX_PAUSE_SECONDS))
            pause *= 3
        return call()

    def _call(self, method: str, where: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        response = self._send(method, where, body, headers or {})
        raw = self._read(response, MAX_ANSWER_BYTES, self._deadline())
        if not http.HTTPStatus.OK <= response.status < http.HTTPStatus.MULTIPLE_CHOICES:
            self._refuse(response, raw)
        try:
            found = json.loads(raw) if raw else None
        except ValueError as error:
            raise _not_an_api(self.url, "answered with what is not JSON") from error
        return Answer(status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=found)

    def _send(self, method: str, where: str, body: Any, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if method != "GET":
            # A server may close a connection that was idle just as we write to it, and then nobody could tell
            # whether a request that changes something has arrived. A GET is simply sent again.
            self.close()
        connection = self._connected()
        sent = {"Accept": "application/json", "User-Agent": "signoff-cli", **headers}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        raw = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            raw = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        try:
            connection.request(method, self._parts.prefix + where, raw, sent)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._lost(error, sent=True) from error

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            made = self._connect()
            try:
                made.connect()
            except OSError as error:
                made.close()
                raise self._lost(error, sent=False) from error
            self._connection = made
        return self._connection

    def _connect(self) -> http.client.HTTPConnection:
        parts = self._parts
        if parts.secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(parts.host, parts.port, timeout=self._seconds, context=context)
        return http.client.HTTPConnection(parts.host, parts.port, timeout=self._seconds)

    def _deadline(self) -> float:
        return time.monotonic() + self._seconds

    def _read(self, response: http.client.HTTPResponse, limit: int, deadline: float) -> bytes:
        pieces, size = [], 0
        try:
            while piece := response.read1(_CHUNK):
                size += len(piece)
                if size > limit:
                    raise _too_large(self.url, limit)
                if time.monotonic() > deadline:
                    raise TimeoutError
                pieces.append(piece)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._lost(error, sent=True) from error
        # `read1` leaves a response that it has read to its end open, and the connection unusable.
        response.close()
        if response.will_close:
            self.close()
        return b"".join(pieces)

    def _refuse(self, response: http.client.HTTPResponse, raw: bytes) -> None:
        if response.status < http.HTTPStatus.BAD_REQUEST:
            raise _not_an_api(self.url, f"answered with a redirection to {response.getheader('Location')!r}")
        try:
            problem = json.loads(raw)
        except ValueError:
            problem = None
        if isinstance(problem, dict) and "problem+json" in (response.getheader("Content-Type") or ""):
            raise ApiProblem(response.status, problem)
        raise _not_an_api(self.url, f"answered {response.status} {response.reason} without a problem document")

    def _lost(self, error: Exception, *, sent: bool) -> ConnectionLost:
        if isinstance(error, TimeoutError):
            what = f"{self.url} did not answer within {self._seconds:.0f} s"
        elif isinstance(error, ConnectionRefusedError):
            what = f"nothing answers at {self.url}"
        else:
            what = f"the connection to {self.url} failed: {error or type(error).__name__}"
        return ConnectionLost(what, sent=sent, fix=self._hint)


def fresh_key() -> str:
    """An Idempotency-Key for one request."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    secure: bool
    host: str
    port: int | None
    prefix: str


def _parse(api_url: str) -> _Parts:
    try:
        parts = urlsplit(api_url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(api_url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise _bad_url(api_url)
    prefix = parts.path.rstrip("/").removesuffix(BASE)
    return _Parts(secure=parts.scheme == "https", host=parts.hostname, port=port, prefix=prefix)


def _with_query(where: str, query: Query) -> str:
    return f"{where}?{urlencode(list(query))}" if query else where


def _bad_url(api_url: str) -> ConfigurationError:
    return ConfigurationError(f"{api_url!r} is not the URL of an API", fix="write it like http://127.0.0.1:8400")


def _not_an_api(url: str, what: str) -> SignoffError:
    return SignoffError(f"{url} {what}", code="not_an_api", fix="check the URL: is that Signoff's API?")


def _too_large(url: str, limit: int) -> SignoffError:
    return SignoffError(f"{url} answered with more than {limit} bytes", code="answer_too_large", fix="ask for less")
