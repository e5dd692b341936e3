"""A caller of the API who checks every answer against the OpenAPI document."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jsonschema
from flask import Flask
from werkzeug.test import TestResponse

from signoff.engine import Engine
from signoff.identity import Principal
from signoff.store.identity import Kind, create_api_key, create_principal

BASE = "/api/v1"
PROBLEM = "application/problem+json"


@dataclass
class Contract:
    """The OpenAPI document, asked whether an answer keeps it."""

    document: dict[str, Any]

    def check(self, method: str, path: str, response: TestResponse) -> None:
        """Fail when this status, media type or body is not promised for this operation."""
        operation = self._operation(method, path)
        if operation is None:
            assert response.status_code in (404, 405), f"{method} {path} is not described"
            self._matches("Problem", response.get_json(force=True))
            return
        promised = operation["responses"].get(str(response.status_code))
        assert promised, f"{method} {path} answered {response.status_code}, which is not described: {response.text}"
        content = promised["content"].get(response.mimetype)
        assert content is not None, f"{method} {path} answered {response.mimetype}, which is not described"
        if "$ref" in content["schema"]:
            self._matches(content["schema"]["$ref"].rpartition("/")[2], response.get_json(force=True))

    def _matches(self, name: str, value: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": self.document["components"]}
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(value)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for template, methods in self.document["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in methods:
                found: dict[str, Any] = methods[method.lower()]
                return found
        return None


@dataclass
class Api:
    """The app with its principals; `as_` picks who calls."""

    app: Flask
    engine: Engine
    contract: Contract
    keys: dict[str, str] = field(default_factory=dict)
    principals: dict[str, Principal] = field(default_factory=dict)

    def add(
        self, name: str, *, kind: Kind = "user", groups: tuple[str, ...] = (), roles: tuple[str, ...] = ()
    ) -> Caller:
        """A new principal with a key."""
        database = self.engine.database
        self.principals[name] = create_principal(database, name=name, kind=kind, groups=groups, roles=roles)
        self.keys[name] = create_api_key(database, name)
        return self.as_(name)

    def as_(self, name: str | None) -> Caller:
        """This principal as a caller; None has no key."""
        return Caller(api=self, name=name, key=self.keys[name] if name is not None else None)


@dataclass
class Caller:
    """Somebody who sends requests."""

    api: Api
    name: str | None
    key: str | None

    def send(self, method: str, path: str, *, raw: bool = False, **options: Any) -> TestResponse:
        """One request; every answer is checked against the contract. `raw` paths have no base."""
        headers = dict(options.pop("headers", {}))
        if self.key is not None:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        path = path if raw else BASE + path
        response = self.api.app.test_client().open(path, method=method, headers=headers, **options)
        self.api.contract.check(method, urlsplit(path).path, response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self.send("PUT", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return self.send("POST", path, **({"json": json} if json is not None else {}), **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.send("DELETE", path, **options)

    def ok(self, response: TestResponse, status: int = 200) -> Any:
        """The body, when the status is as expected."""
        assert response.status_code == status, response.text
        return response.get_json()

    def register(self, document: str, name: str) -> Any:
        """Register a YAML definition."""
        response = self.put(f"/workflows/{name}", data=document, content_type="application/yaml")
        assert response.status_code in (200, 201), response.text
        return response.get_json()

    def start(self, workflow: str, input: Any, **more: Any) -> Any:
        """Start a run and answer it."""
        return self.ok(self.post("/runs", {"workflow": workflow, "input": input, **more}), 201)

    def task(self, run: Any) -> Any:
        """The run's newest human task."""
        return self.ok(self.get(f"/human-tasks/{run['human_tasks'][-1]}"))

    def decide(self, task: Any, decision: str, **more: Any) -> TestResponse:
        """Decide on what `task` shows."""
        headers = more.pop("headers", {})
        body = {"decision": decision, "payload_sha256": task["payload_sha256"], **more}
        return self.post(f"/human-tasks/{task['id']}/decisions", body, headers=headers)


def problem(response: TestResponse, status: int, code: str) -> Any:
    """The problem, when it is the expected one."""
    assert response.status_code == status, response.text
    assert response.content_type == PROBLEM
    found = response.get_json(force=True)
    assert found["code"] == code, found
    assert found["status"] == status
    assert found["type"].startswith("/docs#problem-")
    return found


def paths(found: Any) -> set[str]:
    """Where the fields are that a problem complains of."""
    return {error["path"] for error in found["errors"]}
