"""An OpenID provider as a process, which tests can make lie: `python -P openid_provider.py FOLDER` writes FOLDER/port.

It is oidc-provider-mock with a PKCE that is checked and ID tokens that are signed anew. What is PUT to /twist changes
its answers: `claims` are put over those of the token (null takes one away), `sign` chooses how it is signed,
`discovery` is put over the discovery document, `use` says what its keys are for, `token` replaces the answer of the
token endpoint.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
from flask import Response, jsonify, request
from joserfc import jwk, jwt
from werkzeug.serving import make_server

STRANGER = jwk.RSAKey.generate_key(2048, {"kid": "one"})
EC = jwk.ECKey.generate_key("P-256", {"kid": "ec"})
WEAK = jwk.RSAKey.generate_key(1024, {"kid": "weak"})


class Lies:
    """What the provider does otherwise than it should."""

    def __init__(self) -> None:
        self.twist: dict[str, Any] = {}
        self.signs = jwk.RSAKey.generate_key(2048, {"kid": "one"})
        self.challenges: dict[str, tuple[str | None, str | None]] = {}
        self.asked: dict[str, int] = {}

    def begin(self) -> Response | None:
        """Before the provider sees a request."""
        self.asked[request.path] = self.asked.get(request.path, 0) + 1
        if request.path == "/twist":
            return self.control()
        if request.path == "/jwks":
            keys = [self.signs, EC, WEAK]
            kept = {"use": self.twist["use"]} if "use" in self.twist else {}
            broken = {"kty": "RSA", "kid": "broken", "n": "A" * 400, "e": None}
            return jsonify({"keys": [broken, *(key.as_dict(private=False, **kept) for key in keys)]})
        if request.path == "/oauth2/token":
            return self.check_proof()
        return None

    def control(self) -> Response:
        if request.method == "PUT":
            self.twist = request.get_json()
            if self.twist.pop("rotate", False):
                self.signs = jwk.RSAKey.generate_key(2048, {"kid": f"key-{time.monotonic_ns()}"})
        return jsonify(self.asked)

    def check_proof(self) -> Response | None:
        if "token" in self.twist:
            status, body = self.twist["token"]
            return Response(body, status, content_type="application/json")
        challenge, method = self.challenges.get(request.form["code"], (None, None))
        digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if method != "S256" or challenge != proof or self.twist.get("no_proof"):
            return Response('{"error": "invalid_grant"}', 400, content_type="application/json")
        return None

    def end(self, response: Response) -> Response:
        """Before anybody sees its answer."""
        if request.path == "/oauth2/authorize" and response.status_code == 302:
            code = parse_qs(urlsplit(response.headers["Location"]).query).get("code", [""])[0]
            self.challenges[code] = request.args.get("code_challenge"), request.args.get("code_challenge_method")
        if request.path == "/.well-known/openid-configuration":
            response.set_data(json.dumps(response.get_json() | self.twist.get("discovery", {})))
        if request.path == "/oauth2/token" and response.status_code == 200 and "token" not in self.twist:
            answer = response.get_json()
            response.set_data(json.dumps(answer | {"id_token": self.signed(answer["id_token"])}))
        return response

    def signed(self, token: str) -> str:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for name, value in self.twist.get("claims", {}).items():
            claims[name] = value
            if value is None:
                del claims[name]
        for name, seconds in self.twist.get("moments", {}).items():
            claims[name] = int(time.time()) + seconds
        how = self.twist.get("sign", "RS256")
        head = {"alg": how, "kid": self.signs.kid} | self.twist.get("head", {})
        if how == "none":
            return f"{_part(head)}.{_part(claims)}."
        if how == "HS256":
            told = f"{_part(head)}.{_part(claims)}"
            seal = hmac.digest(self.signs.as_pem(private=False), told.encode(), "sha256")
            return f"{told}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"
        if how == "ES256":
            return jwt.encode(head | {"kid": "ec"}, claims, EC, algorithms=["ES256"])
        if how == "weak":
            return jwt.encode({"alg": "RS256", "kid": "weak"}, claims, WEAK, algorithms=["RS256"])
        if how == "stranger":
            return jwt.encode(head | {"alg": "RS256"}, claims, STRANGER, algorithms=["RS256"])
        return jwt.encode(head, claims, self.signs, algorithms=[how])


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def main(folder: Path) -> None:
    app, lies = oidc_provider_mock.app(), Lies()
    app.before_request(lies.begin)
    app.after_request(lies.end)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    (folder / "port.new").write_text(str(server.server_port))
    (folder / "port.new").rename(folder / "port")
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
