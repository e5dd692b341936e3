"""How deliveries are sent: again until they arrive or are given up, under one id, and bounded throughout."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.integration.engine.flows import GATE
from tests.integration.webhooks.receiver import Sender, answer, answers, receiver

from signoff.errors import Conflict, NotFound
from signoff.ids import new_id
from signoff.store.webhook_deliveries import Answer, forget_deliveries, record, redeliver, take
from signoff.store.webhooks import add_test, enable_endpoint, get_endpoint
from signoff.webhooks.targets import Policy
from signoff_workers.outgoing import MAX_HEAD_BYTES, Failed, Outgoing


def test_a_delivery_that_failed_is_sent_again_under_its_id(sender: Sender) -> None:
    with receiver(answers(500, 503, 204)) as there:
        endpoint, secret = sender.add(there)
        sender.world.start(GATE, {"amount": 1})
        assert sender.send(there) == 0
        (waiting,) = sender.deliveries(endpoint)
        assert (waiting.state, waiting.attempts, waiting.status) == ("pending", 1, 500)
        assert sender.send(there) == 0, "not before it is due"
        assert len(there.got) == 1
        sender.until_dead(endpoint, there)
        (done,) = sender.deliveries(endpoint)
        assert (done.state, done.attempts, done.status) == ("delivered", 3, 204)
        assert {each.id for each in there.got} == {str(done.id)}
        assert len({each.body for each in there.got}) == 1
        for each in there.got:
            each.verified(secret)


def test_what_never_arrives_is_dead_after_three_days_and_can_be_sent_again_by_hand(sender: Sender) -> None:
    with receiver(answer(500)) as there:
        endpoint, _ = sender.add(there)
        sender.world.start(GATE, {"amount": 1})
        with pytest.raises(Conflict):
            redeliver(sender.world.engine.database, sender.deliveries(endpoint)[0].id)
        tried = sender.until_dead(endpoint, there)
        (dead,) = [each for each in sender.deliveries(endpoint) if each.type == "gate.opened"]
        assert timedelta(days=2) < tried <= timedelta(days=3, minutes=30)
        assert (dead.state, dead.due_at, dead.status) == ("dead", None, 500)
        assert 10 <= dead.attempts == len(there.got) <= 25
    with receiver() as back:
        database = sender.world.engine.database
        sender.world.sql("UPDATE webhook_endpoints SET url = %s", back.url)
        redeliver(database, dead.id, endpoint_id=endpoint.id)
        sender.world.later(60)
        assert sender.send(back) == 1
        assert [each.id for each in back.got] == [str(dead.id)]
        with pytest.raises(NotFound):
            redeliver(database, dead.id, endpoint_id=new_id())


def test_an_endpoint_that_is_gone_is_disabled_and_can_be_enabled(sender: Sender) -> None:
    database = sender.world.engine.database
    with receiver(answers(410, 204)) as there:
        endpoint, _ = sender.add(there)
        add_test(database, endpoint.id)
        sender.send(there)
        sender.world.start(GATE, {"amount": 1})
        found = get_endpoint(database, endpoint.id)
        assert found.disabled_why == "it answered 410 Gone"
        assert [each.state for each in sender.deliveries(endpoint)] == ["dead"], "and nothing more is told"
        with pytest.raises(Conflict):
            add_test(database, endpoint.id)
        with pytest.raises(Conflict):
            redeliver(database, sender.deliveries(endpoint)[0].id)
        assert enable_endpoint(database, endpoint.id).disabled_at is None
        sender.world.start(GATE, {"amount": 1})
        assert sender.send(there) == 1


def test_what_waits_for_an_endpoint_that_is_gone_is_dead_with_it(sender: Sender) -> None:
    with receiver(answer(410)) as there:
        endpoint, _ = sender.add(there)
        for _ in range(12):
            sender.world.start(GATE, {"amount": 1})
        sender.send(there)
        assert len(there.got) <= 8
        assert {each.state for each in sender.deliveries(endpoint)} == {"dead"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(sender: Sender, status: int) -> None:
    with receiver() as further, receiver(answer(status, Location=further.url)) as there:
        endpoint, _ = sender.add(there)
        add_test(sender.world.engine.database, endpoint.id)
        assert sender.send(there, further) == 0
        assert len(there.got) == 1
        assert further.got == []
        assert sender.deliveries(endpoint)[0].status == status


def test_an_endpoint_that_is_down_is_left_alone_for_a_while_and_holds_up_nobody_else(sender: Sender) -> None:
    with receiver(answer(500)) as down, receiver() as well:
        sad, _ = sender.add(down)
        sender.add(well)
        for _ in range(20):
            sender.world.start(GATE, {"amount": 1})
        assert sender.send(down, well) == 20
        assert len(down.got) == 8, "a round, and no other"
        assert get_endpoint(sender.world.engine.database, sad.id).failures == 1
        assert sender.due() == []
        sender.world.later(2)
        assert sender.due() == [sad.id]


def test_a_sweep_gives_an_endpoint_to_one_task_at_a_time(sender: Sender) -> None:
    with receiver() as there:
        endpoint, _ = sender.add(there)
        sender.world.start(GATE, {"amount": 1})
        assert sender.due() == [endpoint.id]
        assert sender.due() == []
        sender.world.later(31)
        assert sender.due() == [endpoint.id], "its task may have been lost"


def test_what_was_sent_and_not_recorded_is_sent_again_under_its_id(sender: Sender) -> None:
    database = sender.world.engine.database
    with receiver() as there:
        endpoint, _ = sender.add(there)
        sender.world.start(GATE, {"amount": 1})
        post = sender.post(there)
        (lost,) = take(database, endpoint.id, limit=8, lease_seconds=post.lease_seconds)
        assert post.send(lost).ok
        assert take(database, endpoint.id, limit=8, lease_seconds=1) == [], "another worker leaves it alone"
        sender.world.later(post.lease_seconds + 1)
        assert sender.send(there) == 1
        assert [each.id for each in there.got] == [str(lost.id)] * 2
        late = record(database, lost, Answer(status=500), give_up_after=timedelta(0), random=0.5)
        assert late is None, "who comes late changes nothing"
        assert sender.deliveries(endpoint)[0].state == "delivered"


def _drip(handler: BaseHTTPRequestHandler, _number: int) -> None:
    """A header that never ends, a byte at a time."""
    for byte in b"HTTP/1.1 2" + b"0" * 10_000:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.05)


def _silent(handler: BaseHTTPRequestHandler, _number: int) -> None:
    handler.connection.recv(1)


@pytest.mark.parametrize("respond", [_drip, _silent])
def test_a_slow_receiver_is_given_up_after_the_time_for_one_attempt(sender: Sender, respond: object) -> None:
    with receiver(respond) as there:  # type: ignore[arg-type]
        endpoint, _ = sender.add(there)
        add_test(sender.world.engine.database, endpoint.id)
        began = time.monotonic()
        assert sender.send(there, webhook_timeout_seconds=0.3) == 0
        assert time.monotonic() - began < 3
        (failed,) = sender.deliveries(endpoint)
        assert failed.error in ("no answer within 0.3 s", "the answer is no HTTP")


def test_of_a_huge_answer_only_the_beginning_is_read(sender: Sender) -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler, _number: int) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 500_000_000:
            handler.wfile.write(b"x" * 65_536)
            sent += 65_536

    with receiver(flood) as there:
        endpoint, _ = sender.add(there)
        add_test(sender.world.engine.database, endpoint.id)
        assert sender.send(there) == 1
    assert sent < 50_000_000


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
        (b"HTTP/1.1 999 Odd\r\n\r\n", "no HTTP"),
        (b"HTTP/2 200\r\n\r\n", "no HTTP"),
        (b"", "no HTTP"),
        (b"x" * 100, "no HTTP"),
        (b"HTTP/1.1 100 Continue\r\nX: " + b"y" * MAX_HEAD_BYTES, "no HTTP"),
    ],
)
def test_what_is_no_answer_is_a_failure(said: bytes, why: str) -> None:
    with _said(said) as port, pytest.raises(Failed, match=why):
        _outgoing(port).post(f"http://127.0.0.1:{port}/", {}, b"{}")


def test_the_answer_counts_and_not_what_comes_before_it() -> None:
    with _said(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 Done\r\n\r\n"
    ) as port:
        assert _outgoing(port).post(f"http://127.0.0.1:{port}/", {}, b"{}") == 204


def test_a_proxy_of_the_environment_is_not_asked(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as there:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        endpoint, _ = sender.add(there)
        add_test(sender.world.engine.database, endpoint.id)
        assert sender.send(there) == 1
        assert proxy.got == []


def test_tls_goes_to_the_pinned_address_and_is_checked_against_the_name(tmp_path: Path) -> None:
    context, trusted = _certificate(tmp_path, "hooks.example")
    with _said(b"HTTP/1.1 200 OK\r\n\r\n", context=context) as port:
        asked: list[str] = []

        def resolver(host: str, _port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        policy = Policy.of(ports=(str(port),), inside=("127.0.0.0/8",), plain_http=False)
        outgoing = Outgoing(policy=policy, seconds=5, tls=trusted, resolver=resolver)
        assert outgoing.post(f"https://hooks.example:{port}/", {}, b"{}") == 200
        with pytest.raises(Failed, match="certificate"):
            outgoing.post(f"https://other.example:{port}/", {}, b"{}")
        untrusting = Outgoing(policy=policy, seconds=5, tls=ssl.create_default_context(), resolver=resolver)
        with pytest.raises(Failed, match="certificate"):
            untrusting.post(f"https://hooks.example:{port}/", {}, b"{}")
        assert asked == ["hooks.example", "other.example", "hooks.example"], "once each"


def test_old_deliveries_are_forgotten_and_those_to_be_sent_are_not(sender: Sender) -> None:
    with receiver(answers(204, 500)) as there:
        endpoint, _ = sender.add(there)
        for _ in range(2):
            add_test(sender.world.engine.database, endpoint.id)
            sender.send(there)
        sender.world.later(31 * 86_400)
        with sender.world.engine.database.autocommit() as cursor:
            assert forget_deliveries(cursor, keep_days=30, limit=10) == 1
        assert [each.state for each in sender.deliveries(endpoint)] == ["pending"]


def _outgoing(port: int) -> Outgoing:
    policy = Policy.of(ports=(str(port),), inside=("127.0.0.0/8",), plain_http=True)
    return Outgoing(policy=policy, seconds=2, tls=ssl.create_default_context())


@contextmanager
def _said(answered: bytes, *, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that reads a little and says exactly this; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    connection.recv(65_536)
                    connection.sendall(answered)
                except OSError:
                    pass
                finally:
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for a name, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=made.public_bytes(pem).decode())
    return server, client
