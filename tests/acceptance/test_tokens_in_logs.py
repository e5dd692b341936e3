"""Links and callbacks as canaries: what opens something is in no log and no file that a stack writes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import pytest
from tests.acceptance.caller import Caller
from tests.acceptance.stack import Stack
from tests.integration.notifications.mail import smtp, texts
from tests.servers import eventually

pytestmark = [pytest.mark.xdist_group("acceptance"), pytest.mark.long]

SIMPLE = """
workflow: simple
steps:
  - gate: check
    reviewers: [support-leads, "user:admin"]
"""


class Browser:
    """Keeps cookies as a browser does, also those that are for secure places, of which localhost is one."""

    def __init__(self, api_url: str) -> None:
        self.place = urlsplit(api_url)
        self.cookies: dict[str, str] = {}
        self.text = ""
        self.path = ""

    def open(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> int:
        assert self.place.hostname is not None
        connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=20)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), **headers}
        body = None
        if form is not None:
            body = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        self.text = answer.read().decode(errors="replace")
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        location = answer.headers.get("Location")
        if answer.status == 303 and location is not None:
            self.path = location
            return self.open("GET", location, **headers)
        self.path = path if method == "GET" else self.path
        return answer.status

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="(\w+)"', self.text)
        assert found is not None, self.text
        return found[1]

    def sign_in(self, key: str, target: str) -> int:
        self.open("GET", f"/sign-in?next={quote(target, safe='')}")
        return self.open("POST", "/sign-in", {"csrf": self.csrf, "key": key, "next": target})


def _raw(api_url: str, request: bytes) -> bytes:
    """What no client of ours would send."""
    place = urlsplit(api_url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def _written(running: Stack) -> dict[Path, bytes]:
    """Every file that the stack wrote: logs, the database's own files, the broker's, what it says on its terminal."""
    found = {running.output: running.output.read_bytes()}
    for path in running.home.rglob("*"):
        try:
            if path.is_file():
                found[path] = path.read_bytes()
        except OSError:
            continue  # the database has removed it meanwhile
    return found


def _signed(secret: str, said: Any) -> tuple[bytes, dict[str, str]]:
    body, message_id, at = json.dumps(said).encode(), f"msg_{uuid4()}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(made).decode()}"
    return body, {"webhook-id": message_id, "webhook-timestamp": at, "webhook-signature": signature}


def test_no_link_and_no_callback_is_in_any_log_or_file(running: Stack, admin: Caller, requester: Caller) -> None:
    admin.register(SIMPLE)
    task, other = (admin.task(requester.start("simple", {"amount": 5})) for _ in range(2))
    path = urlsplit(json.loads(running.signoff("link", task["id"], "ana", "--json"))["url"]).path
    token, prefix = path.removeprefix("/l/"), path.removeprefix("/l/")[:11]
    callback = json.loads(running.signoff("callback", "add", "canary", "--json"))
    running.signoff("callback", "link", "canary", "ana", "U1")
    secret_of = callback["path"].rpartition("/")[2]
    assert running.state is not None
    url, key = running.state.api_url, running.state.keys["ana"]

    _ask_oddly(url, path, token, callback["path"])
    ana = Browser(url)
    assert ana.open("GET", path, Referer=f"{url}{path}") == 200
    assert "Sign in" in ana.text
    assert token not in ana.path + ana.text
    assert ana.sign_in(key, "/links/" + ana.path.partition("%2Flinks%2F")[2]) == 200
    form = {"csrf": ana.csrf, "decision": "approve", "payload_sha256": task["payload_sha256"]}
    assert ana.open("POST", f"{ana.path}/decide", form, Referer=f"{url}{path}") == 200
    assert "Nothing is left to decide" in ana.text
    said = {"person": "U1", "human_task_id": other["id"], "decision": "approve"}
    body, headers = _signed(callback["secret"], said | {"payload_sha256": other["payload_sha256"]})
    where = callback["path"].removeprefix("/api/v1")
    anybody = running.as_(None)
    sent = {"Content-Type": "application/json", **headers}
    anybody.send("POST", where, data=body, headers=sent | {"webhook-signature": "v1,AAAA"}).problem(
        401, "unauthenticated"
    )
    anybody.send("POST", where, data=body, headers=sent).ok(201)

    eventually(lambda: "/api/v1/callbacks/…" in running.said and "/l/…" in running.said, why="the requests in the log")
    assert token not in anybody.send("GET", "/metrics", base="").body.decode()
    written = _written(running)
    assert len(written) > 50
    for needle in (token, token[12:], secret_of, secret_of[12:]):
        leaks = [str(file) for file, data in written.items() if needle.encode() in data]
        assert leaks == [], f"{prefix}… or a callback's token"


def test_a_link_that_was_mailed_works_and_is_in_no_log_and_no_file(
    running: Stack, admin: Caller, requester: Caller
) -> None:
    assert running.state is not None
    url, key = running.state.api_url, running.state.keys["ana"]
    admin.register(SIMPLE)
    with smtp() as mailbox:
        channel = json.loads(running.signoff("notify", "add", "user:ana", mailbox.url(), "--json"))
        task = admin.task(requester.start("simple", {"amount": 6}))
        eventually(lambda: mailbox.got, seconds=30, why="the mail")
        running.signoff("notify", "remove", channel["id"])
    texts_of_it = texts(mailbox.got[0])
    (found,) = {found[1] for text in texts_of_it if (found := re.search(rf"{re.escape(url)}(/l/[\w-]+)", text))}
    token = found.removeprefix("/l/")
    _ask_oddly(url, found, token, found)
    ana = Browser(url)
    assert ana.open("GET", found, Referer=f"{url}{found}") == 200
    assert ana.sign_in(key, "/links/" + ana.path.partition("%2Flinks%2F")[2]) == 200
    form = {"csrf": ana.csrf, "decision": "approve", "payload_sha256": task["payload_sha256"]}
    assert ana.open("POST", f"{ana.path}/decide", form, Referer=f"{url}{found}") == 200
    assert "Nothing is left to decide" in ana.text
    for needle in (token, token[12:]):
        leaks = [str(file) for file, data in _written(running).items() if needle.encode() in data]
        assert leaks == [], "the token of a link that a worker mailed"


def _ask_oddly(url: str, path: str, token: str, callback: str) -> None:
    """All the ways in which an address gets into a request, most of them wrong."""
    browser = Browser(url)
    for odd in (path, path.upper(), f"/{path}", f"//l//{token}", f"{path}/", f"{path}x", f"/inbox{path}", f"/{token}"):
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
            browser.open(method, odd, **{"Sec-Purpose": "prefetch", "Referer": f"{url}{path}"})
    browser.open("GET", f"/inbox?next={path}", **{"User-Agent": token, "X-Request-Id": "x"})
    browser.open("GET", f"/sign-in?next={path}")
    host = b"\r\nHost: localhost\r\n\r\n"
    for address in (path.encode(), path.replace("_", "%5F").encode(), callback.encode()):
        for line in (
            b"GET " + address + b" HTTP/9.9",
            b"GET  " + address + b" HTTP/1.1",
            b"GET " + address,
            b"G\x01T " + address + b" HTTP/1.1",
            b"get " + address + b" HTTP/1.1",
            b"GET " + address + b"?" + b"x" * 9_000 + b" HTTP/1.1",
        ):
            _raw(url, line + host)
        _raw(url, b"GET " + address + b" HTTP/1.1\r\nHost: localhost\r\nBad Header: " + address + b"\r\n\r\n")
        _raw(url, b"POST " + address + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
