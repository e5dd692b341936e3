"""How each route is called, and what its answer comes to: 200, or the refusal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import uuid4

from tests.integration.authorization.cast import DEPUTY, PASSWORD, Cast, Matter, Person
from werkzeug.test import TestResponse

from signoff.store.callbacks import add_callback, link_person
from signoff.store.sessions import create_sign_in_link, start_session
from signoff.store.task_links import add_link, find_link
from signoff.webhooks.signing import headers
from signoff_api.inbox.pages import csrf_token

REFUSED = -1
"""It was refused in a list of several, which says why in words."""

UNTOLD = 0
"""It was answered, and the answer would be the same whether or not one may see the matter."""

EXPENSE = {"workflow": "expense", "steps": [{"gate": "approve", "reviewers": "deciders"}]}
_FORM_TOKEN = "f" * 43
_UNKNOWN_LINK = "l" * 43


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of somebody about something."""

    cast: Cast
    who: Person
    matter: Matter

    def api(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.who.key}"} if self.who.key else {}
        return self.cast.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, **options)

    def open(self, path: str) -> TestResponse:
        """A path that is for everybody, whoever asks."""
        return self.cast.app.test_client().get(path, buffered=False)

    def page(self, path: str, session: str = "") -> TestResponse:
        return self._browser(session).get(path, base_url="https://localhost")

    def form(self, path: str, session: str = "", **fields: Any) -> TestResponse:
        data = {"csrf": csrf_token(session or self.who.session or _FORM_TOKEN), **fields}
        return self._browser(session).post(path, base_url="https://localhost", data=data)

    def sign_in(self, path: str, **fields: Any) -> TestResponse:
        """A form of the sign-in page, from the browser that was shown it."""
        browser = self.cast.app.test_client()
        browser.set_cookie("signoff_sign_in", _FORM_TOKEN, domain="localhost", path="/sign-in", secure=True)
        data = {"csrf": csrf_token(_FORM_TOKEN), **fields}
        return browser.post(path, base_url="https://localhost", data=data)

    def fresh_session(self) -> str:
        if self.who.principal is None:
            return ""
        return start_session(self.cast.engine.database, self.who.principal, hours=1, user_agent="test", key=None)

    def password(self) -> dict[str, str]:
        return {"name": "" if self.who.principal is None else self.who.principal.name, "password": PASSWORD}

    def link(self) -> str:
        if self.who.principal is None or self.who.principal.kind != "user":
            return _UNKNOWN_LINK
        return create_sign_in_link(self.cast.engine.database, self.who.principal.name, lasts=timedelta(hours=1))

    def task_link(self) -> str:
        """A link into the human task for this person, made while they could decide on it, whatever they may now."""
        if self.who.principal is None or self.who.principal.kind != "user":
            return _UNKNOWN_LINK
        with self.cast.engine.database.transaction() as cursor:
            return add_link(cursor, self.matter.task_id, self.who.principal, lasts=timedelta(hours=1))

    def by_link(self, method: str, what: str = "", **fields: str) -> TestResponse:
        """The page of a link, or a form of it, from a browser that has followed the link."""
        token, browser = self.task_link(), self._browser("")
        found = find_link(self.cast.engine.database, token)
        path = f"/links/{self.matter.task_id if found is None else found.id}"
        browser.set_cookie("signoff_link", token, domain="localhost", path=path, secure=True)
        data = {"csrf": csrf_token(self.who.session or _FORM_TOKEN), **fields} if method == "POST" else None
        return browser.open(path + what, method=method, base_url="https://localhost", data=data)  # type: ignore[no-any-return]

    def callback(self) -> TestResponse:
        """What a callback posts that this caller's decision was made in; nobody is sent by none that is known."""
        token, secret = _callback(self.cast)
        who = self.who.principal.name if self.who.principal is not None else "nobody"
        said = {"person": who, "human_task_id": str(self.matter.task_id), "payload_sha256": self.matter.payload_sha256}
        body = json.dumps(said | {"decision": "approve"}).encode()
        signed = headers(str(uuid4()), int(time.time()), body, [secret])
        known = token if self.who.principal is not None else "sc_aaaaaaaa_" + "a" * 43
        return self.cast.app.test_client().post(
            f"/api/v1/callbacks/{known}", data=body, headers=signed, content_type="application/json"
        )

    def _browser(self, session: str) -> Any:
        browser = self.cast.app.test_client()
        token = session or self.who.session
        if token:
            browser.set_cookie("signoff_session", token, domain="localhost", secure=True)
        return browser


def _callback(cast: Cast) -> tuple[str, str]:
    """The token and the secret of a callback that may speak for every person of the cast."""
    if not cast.callback:
        _, token, secret = add_callback(cast.engine.database, "everybody")
        for each in cast.people.values():
            if each.principal is not None and each.kind == "user":
                link_person(cast.engine.database, "everybody", each.principal.name, external_id=each.principal.name)
        cast.callback = (token, secret)
    return cast.callback


Sender: TypeAlias = Callable[[Call], TestResponse]
Reader: TypeAlias = Callable[[Call, TestResponse], int]


def plain(call: Call, response: TestResponse) -> int:  # a reader like the others
    """The answer's own status; a page that sends one to sign in is a 401."""
    status = response.status_code
    if status == 303:
        return 401 if response.headers["Location"].startswith("/sign-in?") else 200
    return 200 if status in (200, 201, 204) else status


def listed(call: Call, response: TestResponse) -> int:
    """A list that was given is a 404 to whoever does not find the matter in it."""
    status = plain(call, response)
    if status != 200:
        return status
    text = response.get_data(as_text=True)
    return 200 if str(call.matter.run_id) in text or str(call.matter.task_id) in text else 404


def listed_where_open(call: Call, response: TestResponse) -> int:
    """The same of the inbox, which shows what is open; of others only who may look into the inbox at all is told."""
    status = plain(call, response)
    if status != 200:
        return status
    if call.matter.state not in ("open", "pending"):
        return UNTOLD
    # Not the id alone: the form for the search repeats what was looked for.
    return 200 if f"/inbox/{call.matter.task_id}" in response.get_data(as_text=True) else 404


def let_through(call: Call, response: TestResponse) -> int:
    """Whether one got as far as to be told that there is no such thing, or that it will not do."""
    status = plain(call, response)
    return 200 if status in (404, 422) else status


def put_off(call: Call, response: TestResponse) -> int:
    """Whether one got as far as to be told that the moment will not do."""
    status = plain(call, response)
    return 200 if status == 422 else status


def one_of_several(call: Call, response: TestResponse) -> int:
    """What became of the one item of a bulk decision by the API."""
    if response.status_code != 200:
        return response.status_code
    (item,) = response.get_json()["items"]
    return 200 if item["status"] in (200, 201) else int(item["status"])


def prepared(call: Call, response: TestResponse) -> int:
    """Whether the page that prepares a bulk decision knows the human task."""
    status = plain(call, response)
    if status != 200:
        return status
    return 404 if "gone, or no longer yours to see" in response.get_data(as_text=True) else 200


def done(call: Call, response: TestResponse) -> int:
    """What the page of a bulk decision says became of the one item."""
    status = plain(call, response)
    if status != 200:
        return status
    text = response.get_data(as_text=True)
    assert ("badge good" in text) != ("badge bad" in text)
    return 200 if "badge good" in text else REFUSED


def no_such_name(call: Call, response: TestResponse) -> int:
    """Programs have no password, and are told what anybody is told who gives a wrong one."""
    status = plain(call, response)
    return 404 if status == 401 and call.who.principal is not None else status


def first_piece(call: Call, response: TestResponse) -> int:
    """The stream goes on for as long as one listens; hang up at once."""
    response.close()
    return plain(call, response)


def _get(path: str) -> Sender:
    return lambda call: call.api("GET", _filled(path, call.matter))


def _open(path: str) -> Sender:
    return lambda call: call.open(path)


def _page(path: str) -> Sender:
    return lambda call: call.page(_filled(path, call.matter))


def _form(path: str, **fields: str) -> Sender:
    return lambda call: call.form(
        _filled(path, call.matter), **{name: _filled(value, call.matter) for name, value in fields.items()}
    )


def _send(method: str, path: str, body: Any = None) -> Sender:
    def send(call: Call) -> TestResponse:
        options = {} if body is None else {"json": json.loads(_filled(json.dumps(body), call.matter))}
        return call.api(method, _filled(path, call.matter), **options)

    return send


def _filled(text: str, matter: Matter) -> str:
    for name, value in (
        ("RUN", matter.run_id),
        ("TASK", matter.task_id),
        ("SHA", matter.payload_sha256),
        ("NUMBER", int(matter.canary.removeprefix("canary"))),
    ):
        text = text.replace(f"<{name}>", str(value))
    return text


HOOK = "/webhooks/<RUN>"
"""No endpoint has the id of a run: who may manage them is told so."""
SAID = {"decision": "approve", "payload_sha256": "<SHA>"}

API: dict[str, tuple[Sender, Reader]] = {
    "GET /api/v1/workflows": (_get("/workflows"), plain),
    "GET /api/v1/workflows/{name}": (_get("/workflows/steady"), plain),
    "GET /api/v1/workflows/{name}/versions/{number}": (_get("/workflows/steady/versions/1"), plain),
    "PUT /api/v1/workflows/{name}": (_send("PUT", "/workflows/expense", EXPENSE), plain),
    "POST /api/v1/runs": (_send("POST", "/runs", {"workflow": "steady", "input": {"canary": "x"}}), plain),
    "GET /api/v1/runs": (_get("/runs?label=matter:<NUMBER>"), listed),
    "GET /api/v1/runs/{run_id}": (_get("/runs/<RUN>"), plain),
    "GET /api/v1/runs/{run_id}/events": (_get("/runs/<RUN>/events"), plain),
    "POST /api/v1/runs/{run_id}/cancel": (_send("POST", "/runs/<RUN>/cancel", {"reason": "why not"}), plain),
    "POST /api/v1/runs/{run_id}/retry": (_send("POST", "/runs/<RUN>/retry", {}), plain),
    "GET /api/v1/human-tasks": (_get("/human-tasks?state=all&run=<RUN>"), listed),
    "GET /api/v1/human-tasks/{human_task_id}": (_get("/human-tasks/<TASK>"), plain),
    "PUT /api/v1/human-tasks/{human_task_id}/claim": (_send("PUT", "/human-tasks/<TASK>/claim"), plain),
    "DELETE /api/v1/human-tasks/{human_task_id}/claim": (_send("DELETE", "/human-tasks/<TASK>/claim"), plain),
    "PUT /api/v1/human-tasks/{human_task_id}/assignee": (
        _send("PUT", "/human-tasks/<TASK>/assignee", {"assignee": DEPUTY}),
        plain,
    ),
    "POST /api/v1/human-tasks/{human_task_id}/comments": (
        _send("POST", "/human-tasks/<TASK>/comments", {"text": "hm"}),
        plain,
    ),
    "POST /api/v1/human-tasks/{human_task_id}/decisions": (
        _send("POST", "/human-tasks/<TASK>/decisions", SAID),
        plain,
    ),
    "POST /api/v1/callbacks/{token}": (lambda call: call.callback(), plain),
    "POST /api/v1/bulk-decisions": (
        _send(
            "POST",
            "/bulk-decisions",
            {"decision": "approve", "note": "all of them", "items": [{"id": "<TASK>", "payload_sha256": "<SHA>"}]},
        ),
        one_of_several,
    ),
    "GET /api/v1/runs/{run_id}/audit": (_get("/runs/<RUN>/audit"), plain),
    "GET /api/v1/audit/verification": (_get("/audit/verification?run=<RUN>"), plain),
    "GET /api/v1/webhooks": (_get("/webhooks"), plain),
    "POST /api/v1/webhooks": (_send("POST", "/webhooks", {"url": "http://127.0.0.1/"}), let_through),
    "GET /api/v1/webhooks/{webhook_id}": (_get(HOOK), let_through),
    "DELETE /api/v1/webhooks/{webhook_id}": (_send("DELETE", HOOK), let_through),
    "POST /api/v1/webhooks/{webhook_id}/secret": (_send("POST", f"{HOOK}/secret"), let_through),
    "POST /api/v1/webhooks/{webhook_id}/enable": (_send("POST", f"{HOOK}/enable"), let_through),
    "POST /api/v1/webhooks/{webhook_id}/test": (_send("POST", f"{HOOK}/test"), let_through),
    "GET /api/v1/webhooks/{webhook_id}/deliveries": (_get(f"{HOOK}/deliveries"), let_through),
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": (
        _send("POST", f"{HOOK}/deliveries/<TASK>/redeliver"),
        let_through,
    ),
    "GET /api/v1/authority": (_get("/authority"), plain),
    "PUT /api/v1/authority": (_send("PUT", "/authority", {"subject": "user:nobody", "limit": "true"}), let_through),
    "DELETE /api/v1/authority/{limit_id}": (_send("DELETE", "/authority/<RUN>"), let_through),
    "GET /api/v1/delegations": (_send("GET", "/delegations"), plain),
    "POST /api/v1/delegations": (_send("POST", "/delegations", {"delegate": "nobody-there"}), let_through),
    # No delegation has the id of a run; whose it is matters where there is one.
    "DELETE /api/v1/delegations/{delegation_id}": (_send("DELETE", "/delegations/<RUN>"), let_through),
    "PUT /api/v1/human-tasks/{human_task_id}/snooze": (
        # Too far off: told to who may see it and only while it is open.
        _send("PUT", "/human-tasks/<TASK>/snooze", {"until": "2999-01-01T00:00:00Z"}),
        put_off,
    ),
    "DELETE /api/v1/human-tasks/{human_task_id}/snooze": (_send("DELETE", "/human-tasks/<TASK>/snooze"), plain),
    "GET /healthz": (_open("/healthz"), plain),
    "GET /readyz": (_open("/readyz"), plain),
    "GET /metrics": (_open("/metrics"), plain),
    "GET /openapi.json": (_open("/openapi.json"), plain),
    "GET /docs": (_open("/docs"), plain),
    "GET /docs/style.css": (_open("/docs/style.css"), plain),
}

PAGES: dict[str, tuple[Sender, Reader]] = {
    "GET /": (_page("/"), plain),
    "GET /sign-in": (_page("/sign-in"), plain),
    "POST /sign-in": (lambda call: call.sign_in("/sign-in", key=call.who.key or "so_no_key"), plain),
    "POST /sign-in/password": (lambda call: call.sign_in("/sign-in/password", **call.password()), no_such_name),
    "GET /account": (_page("/account"), plain),
    # It would end the other sessions, and the others still need theirs.
    "POST /account/password": (_form("/account/password", new="one", again="two"), let_through),
    "POST /account/away": (_form("/account/away", until="2999-01-01", substitute="nobody-there"), let_through),
    # No delegation has the id of a run; whose it is matters where there is one.
    "POST /account/away/{delegation_id}/end": (_form("/account/away/<RUN>/end"), let_through),
    "GET /sign-in/{token}": (lambda call: call.page(f"/sign-in/{call.link()}"), plain),
    "POST /sign-in/{token}": (lambda call: call.sign_in(f"/sign-in/{call.link()}"), plain),
    # There is no provider here, and that is told to everybody.
    "GET /sign-in/oidc": (_page("/sign-in/oidc"), let_through),
    "GET /sign-in/oidc/callback": (_page("/sign-in/oidc/callback"), let_through),
    # It ends the session, and the others still need theirs.
    "POST /sign-out": (lambda call: call.form("/sign-out", call.fresh_session()), plain),
    "POST /theme": (_form("/theme", theme="dark"), plain),
    "GET /inbox": (_page("/inbox?view=all&q=<RUN>"), listed_where_open),
    "GET /inbox/counts": (_page("/inbox/counts?q=<RUN>"), plain),
    "GET /inbox/{human_task_id}": (_page("/inbox/<TASK>"), plain),
    "GET /inbox/{human_task_id}/notice": (_page("/inbox/<TASK>/notice"), plain),
    "GET /inbox/{human_task_id}/payload.json": (_page("/inbox/<TASK>/payload.json"), plain),
    "POST /inbox/{human_task_id}/confirm": (
        _form("/inbox/<TASK>/confirm", decision="approve", payload_sha256="<SHA>"),
        plain,
    ),
    "POST /inbox/{human_task_id}/resume": (
        _form("/inbox/<TASK>/resume", decision="approve", payload_sha256="<SHA>"),
        plain,
    ),
    "POST /inbox/{human_task_id}/decide": (
        _form("/inbox/<TASK>/decide", decision="approve", payload_sha256="<SHA>"),
        plain,
    ),
    "POST /inbox/{human_task_id}/withdraw": (_form("/inbox/<TASK>/withdraw"), plain),
    "POST /inbox/{human_task_id}/claim": (_form("/inbox/<TASK>/claim"), plain),
    "POST /inbox/{human_task_id}/keep": (_form("/inbox/<TASK>/keep"), plain),
    "POST /inbox/{human_task_id}/release": (_form("/inbox/<TASK>/release"), plain),
    "POST /inbox/{human_task_id}/assign": (_form("/inbox/<TASK>/assign", assignee=DEPUTY), plain),
    "POST /inbox/{human_task_id}/comment": (_form("/inbox/<TASK>/comment", text="hm"), plain),
    "POST /inbox/{human_task_id}/snooze": (_form("/inbox/<TASK>/snooze", hours="1"), plain),
    "POST /inbox/{human_task_id}/unsnooze": (_form("/inbox/<TASK>/unsnooze"), plain),
    "GET /l/{token}": (lambda call: call.page(f"/l/{call.task_link()}"), plain),
    "GET /links/{link_id}": (lambda call: call.by_link("GET"), plain),
    "POST /links/{link_id}/open": (lambda call: call.by_link("POST", "/open"), plain),
    "POST /links/{link_id}/decide": (
        lambda call: call.by_link("POST", "/decide", decision="approve", payload_sha256=call.matter.payload_sha256),
        plain,
    ),
    "POST /inbox/bulk": (_form("/inbox/bulk", action="approve", item="<TASK>:<SHA>"), prepared),
    "POST /inbox/bulk/commit": (_form("/inbox/bulk/commit", action="approve", item="<TASK>:<SHA>"), done),
    "GET /runs": (_page("/runs?label=matter:<NUMBER>"), listed),
    "GET /runs/{run_id}": (_page("/runs/<RUN>"), plain),
    "POST /runs/{run_id}/cancel": (_form("/runs/<RUN>/cancel", reason="why not", confirm="yes"), plain),
    "POST /runs/{run_id}/retry": (_form("/runs/<RUN>/retry", confirm="yes"), plain),
    "GET /audit": (_page("/audit"), plain),
    "GET /audit/check": (_page("/audit/check?until=2000-01-01"), plain),
    "GET /audit/{run_id}": (_page("/audit/<RUN>"), plain),
    "GET /audit/{run_id}/export": (_page("/audit/<RUN>/export"), plain),
    "GET /audit/verify_audit.py": (_page("/audit/verify_audit.py"), plain),
    "GET /insights": (_page("/insights"), plain),
    "GET /insights.csv": (_page("/insights.csv?part=buckets"), plain),
    "GET /live": (lambda call: call.page("/live"), first_piece),
    "GET /live/changes": (_page("/live/changes"), plain),
    "GET /assets/{name}": (_open("/assets/inbox.css"), plain),
    "GET /assets/vendor/{name}": (_open("/assets/vendor/htmx.min.js"), plain),
}
