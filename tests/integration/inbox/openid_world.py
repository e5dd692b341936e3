"""The pages beside an OpenID provider that says what a test wants, for tests of signing in by it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.integration.inbox.desk import Browser, Desk, open_desk
from tests.integration.inbox.html import parse
from tests.servers import eventually
from werkzeug.test import TestResponse

from signoff.embedded.processes import launch, stop
from signoff.identity import Principal
from signoff.settings import Settings
from signoff_api.app import create_app

PROGRAM = Path(__file__).with_name("openid_provider.py")


SECRET = "a secret of 32 characters, or more"


@dataclass
class World:
    """The pages, and the provider that signs people in to them."""

    desk: Desk
    issuer: str
    people: int = 0

    def with_(self, **options: Any) -> World:
        """The same database behind an app of other settings; nothing is remembered of the provider."""
        found: dict[str, Any] = {
            "database_url": self.desk.settings.database_url,
            "broker_url": self.desk.settings.broker_url,
            "public_url": "https://localhost",
            "oidc_issuer": self.issuer,
            "oidc_client_id": "signoff",
            "oidc_client_secret": SECRET,
            "oidc_groups_claim": "groups",
        }
        settings = Settings(**(found | options))
        app = create_app(self.desk.engine, settings)
        return World(desk=replace(self.desk, app=app, settings=settings), issuer=self.issuer)

    def ask(self, method: str, path: str, body: str = "", kind: str = "application/json") -> http.client.HTTPResponse:
        """One request to the provider."""
        connection = http.client.HTTPConnection(urlsplit(self.issuer).netloc, timeout=10)
        connection.request(method, path, body=body, headers={"Content-Type": kind})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def twist(self, **how: Any) -> None:
        """Make the provider lie."""
        self.ask("PUT", "/twist", json.dumps(how))

    def asked(self, path: str) -> int:
        """How often the provider has been asked this."""
        connection = http.client.HTTPConnection(urlsplit(self.issuer).netloc, timeout=10)
        connection.request("GET", "/twist")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return int(found.get(path, 0))

    def has(self, subject: str, **claims: Any) -> None:
        """The provider knows this person."""
        assert self.ask("PUT", f"/users/{subject}", json.dumps(claims)).status == 204

    def begin(self, browser: Browser, path: str = "/sign-in/oidc") -> str:
        """Where the browser is sent."""
        response = browser.send("GET", path)
        assert response.status_code == 303, response.text
        return response.headers["Location"]

    def agree(self, url: str, subject: str) -> str:
        """Sign in at the provider; where it sends the browser back to, without the host."""
        parts = urlsplit(url)
        form = urlencode({"sub": subject})
        response = self.ask("POST", f"{parts.path}?{parts.query}", form, "application/x-www-form-urlencoded")
        assert response.status == 302
        return response.headers["Location"].removeprefix("https://localhost")

    def sign_in(self, subject: str, status: int = 303, browser: Browser | None = None) -> TestResponse:
        """There and back again."""
        browser = browser or self.desk.browser()
        response = browser.send("GET", self.agree(self.begin(browser), subject))
        assert response.status_code == status, response.text
        assert has_session(response) == (status == 303)
        return response

    def somebody(self, **claims: Any) -> str:
        """A new person at the provider, whose name is their subject."""
        World.people += 1
        name = f"p{World.people}"
        self.has(name, **({"preferred_username": name} | claims))
        return name

    def principal(self, name: str) -> Principal | None:
        rows = self.desk.sql("SELECT id, name, kind, groups, roles FROM principals WHERE name = %s", name)
        if not rows:
            return None
        ((made, name, kind, groups, roles),) = rows
        return Principal(id=made, name=name, kind=kind, groups=frozenset(groups), roles=frozenset(roles))


def has_session(response: TestResponse) -> bool:
    return any(each.startswith("signoff_session=") for each in response.headers.getlist("Set-Cookie"))


def words(response: TestResponse) -> str:
    return parse(response.text).one("main").text


@contextmanager
def open_world(database_url: str, broker_url: str, folder: Path) -> Iterator[World]:
    """The pages on this database, and a provider that keeps what it writes in this folder."""
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"AUTHLIB_INSECURE_TRANSPORT": "1"}
        process = launch([sys.executable, "-P", PROGRAM, folder], output=log, env=environment)
    try:
        eventually((folder / "port").exists, seconds=30, why=f"the provider, see {folder}/log")
        issuer = f"http://127.0.0.1:{(folder / 'port').read_text()}"
        with open_desk(database_url, broker_url) as desk:
            yield World(desk=desk, issuer=issuer).with_()
    finally:
        stop(process, signal.SIGTERM, 10)
