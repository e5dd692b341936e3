"""Nobody is sent to inside: every spelling of an address that is not public, by the system's own resolver or by names
that point there, is refused before anything is connected.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

import pytest
from tests.mutants import mutate

from signoff.webhooks import targets
from signoff.webhooks.targets import Policy, TargetRefused
from signoff_workers import outgoing
from signoff_workers.outgoing import Failed, Outgoing, resolve

# As hosts of a URL; the system's resolver reads what is no plain address.
SPELLINGS = """
    127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7F.1 0177.0.0.1 017700000001 0x7f.0x0.0x0.0x1
    0 0.0.0.0 0.1.2.3 0x0 00000 localhost localhost. LOCALHOST
    10.0.0.1 10.1 0xa.1 012.0.0.1 167772161 10.255.255.255
    172.16.0.1 172.31.255.255 2886729729 0xac100001 192.168.0.1 192.168.257 3232235521 0xc0a80001 0300.0250.0.1
    169.254.169.254 169.254.43518 2852039166 0xa9fea9fe 0251.0376.0251.0376 0xa9.254.169.0376
    100.64.0.1 100.100.100.200 100.127.255.255 1681915905 168.63.129.16 2822734096
    192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 4294967295 0xffffffff
    [::] [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::127.0.0.1] [::7f00:1] [::8.8.8.8] [::ffff:127.0.0.1] [::ffff:7f00:1]
    [::FFFF:10.0.0.1] [::ffff:169.254.169.254] [0:0:0:0:0:ffff:c0a8:1] [::ffff:0:127.0.0.1] [::ffff:0.0.0.0]
    [64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b::10.0.0.1] [64:ff9b:1::8.8.8.8] [64:ff9b:1::1]
    [2002:7f00:1::] [2002:a00:1::1] [2002:a9fe:a9fe::1] [2002:808:808::1]
    [2001::1] [2001:0:4136:e378:8000:63bf:3fff:fdd2] [2001:0:7f00:1::80ff:fffe] [2001:db8::1] [2001:10::1] [2001:2::1]
    [100::1] [100:0:0:1::1] [3fff::1] [5f00::1] [fc00::1] [fd00:ec2::254] [fdff:ffff::1] [fe80::1] [febf::1] [fec0::1]
    [ff02::1] [ff0e::1] [4000::1] [8000::1] [2607:f8b0::5efe:10.0.0.1] [2607:f8b0::200:5efe:a9fe:a9fe]
""".split()  # noqa: SIM905  # a hundred spellings read better so

# As what a name resolves to.
ANSWERS: list[tuple[str, ...]] = [
    ("127.0.0.1",),
    ("10.0.0.1",),
    ("169.254.169.254",),
    ("100.64.0.1",),
    ("0.0.0.0",),
    ("::1",),
    ("::ffff:192.168.0.1",),
    ("fe80::1%eth0",),
    ("fe80::1%2",),
    ("64:ff9b::7f00:1",),
    ("2002:7f00:1::",),
    ("fd00::1",),
    ("8.8.8.8", "127.0.0.1"),
    ("127.0.0.1", "8.8.8.8"),
    ("2607:f8b0::1", "::1"),
    ("8.8.8.8", "no address"),
    ("",),
    ("0x7f000001",),
    ("127.1",),
    ("1.2.3.4.5",),
]

# As whole URLs that are refused for their form.
FORMS = [
    "http://8.8.8.8/",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://8.8.8.8/",
    "//8.8.8.8/",
    "https:8.8.8.8",
    "https:///path",
    "https://",
    "",
    "https://user@8.8.8.8/",
    "https://user:password@8.8.8.8/",
    "https://8.8.8.8@127.0.0.1/",
    "https://@127.0.0.1/",
    "https://8.8.8.8#@127.0.0.1/",
    "https://8.8.8.8\\@127.0.0.1/",
    "https:\\\\127.0.0.1/",
    "https://127.0.0.1\t/",
    "https://8.8.8.8/\r\nX: y",
    "https://8.8.8.8/ x",
    " https://8.8.8.8/",
    "https://8.8.8.8/#part",
    "https://8.8.8.8:/",
    "https://8.8.8.8:0/",
    "https://8.8.8.8:22/",
    "https://8.8.8.8:80/",
    "https://8.8.8.8:6379/",
    "https://8.8.8.8:99999/",
    "https://8.8.8.8:4 43/",
    "https://8.8.8.8:٤٤٣/",
    "https://%31%32%37.0.0.1/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://ⓛocalhost/",
    "https://a..b/",
    "https://.a/",
    "https://-a/",
    "https://[::1/",
    "https://[::1]x/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.a]/",
    "https://[127.0.0.1]/",
    "https://8.8.8.8/" + "x" * 2048,
]

PUBLIC = ["8.8.8.8", "1.1.1.1", "2607:f8b0:4004:800::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]

TLS = ssl.create_default_context()
DEFAULT = Policy.of(ports=("443",), inside=(), plain_http=False)


class Connections:
    """Counts what is connected, and connects nothing."""

    def __init__(self) -> None:
        self.to: list[str] = []

    def __call__(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.to.append(address[0])
        raise ConnectionRefusedError


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    made = Connections()
    monkeypatch.setattr(outgoing.socket, "create_connection", made)
    return made


def _post(url: str, policy: Policy = DEFAULT, resolver: outgoing.Resolver = resolve) -> None:
    Outgoing(policy=policy, seconds=5, tls=TLS, resolver=resolver).post(url, {}, b"{}")


def test_no_spelling_of_an_address_inside_is_connected(connections: Connections) -> None:
    for host in SPELLINGS:
        # What the resolver does not read either has no address; nearly all of these it does.
        with pytest.raises((TargetRefused, Failed)):
            _post(f"https://{host}/")
    for answer in ANSWERS:
        with pytest.raises(TargetRefused):
            _post("https://hooks.example/", resolver=lambda _host, _port, found=answer: found)
    for url in FORMS:
        with pytest.raises(TargetRefused):
            _post(url, resolver=lambda _host, _port: ["8.8.8.8"])
    print(f"\n{len(SPELLINGS) + len(ANSWERS) + len(FORMS)} vectors, {len(connections.to)} private connects")
    assert len(SPELLINGS) + len(ANSWERS) + len(FORMS) >= 60
    assert connections.to == []


def test_nearly_every_spelling_is_refused_for_what_it_is_and_not_for_being_unreadable() -> None:
    unreadable = []
    for host in SPELLINGS:
        try:
            _post(f"https://{host}/")
        except Failed:
            unreadable.append(host)
        except TargetRefused:
            continue
    assert len(unreadable) <= 2, unreadable


@pytest.mark.parametrize("found", PUBLIC)
def test_a_public_address_is_connected(connections: Connections, found: str) -> None:
    with pytest.raises(Failed):
        _post("https://hooks.example/", resolver=lambda _host, _port: [found])
    assert connections.to == [found.removeprefix("::ffff:").replace("64:ff9b::8.8.8.8", "64:ff9b::808:808")]


def test_a_name_that_changes_between_looks_is_asked_once_and_the_address_that_was_judged_is_connected(
    connections: Connections,
) -> None:
    answers = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    with pytest.raises(Failed):
        _post("https://rebind.example/", resolver=rebinding)
    assert (connections.to, len(asked)) == (["8.8.8.8"], 1)
    with pytest.raises(TargetRefused):
        _post("https://rebind.example/", resolver=rebinding)
    assert connections.to == ["8.8.8.8"], "and the next attempt asks and judges anew"


def test_an_exception_opens_its_network_and_nothing_else(connections: Connections) -> None:
    policy = Policy.of(ports=("443", "80"), inside=("10.1.0.0/16", "fd00:1::/64"), plain_http=True)
    for host, reached in (("10.1.2.3", "10.1.2.3"), ("[::ffff:10.1.2.3]", "10.1.2.3"), ("[fd00:1::5]", "fd00:1::5")):
        for scheme in ("https", "http"):
            with pytest.raises(Failed):
                _post(f"{scheme}://{host}/", policy)
            assert connections.to.pop() == reached
    for host in ("10.2.0.1", "127.0.0.1", "[fd00:2::1]", "[64:ff9b::10.1.2.3]"):
        with pytest.raises(TargetRefused):
            _post(f"https://{host}/", policy)
    with pytest.raises(TargetRefused, match="plain http"):
        _post("http://8.8.8.8/", policy)
    assert connections.to == []


MUTANTS = {
    "nothing is judged": (outgoing.Outgoing._addresses, "judge(each, target, self.policy)", "each"),
    "the list is not ours": (targets._is_public, "any(address in network for network in _REFUSED)", "False"),
    "NAT64 is as good as any": (
        targets._is_public,
        "return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))",
        "return True",
    ),
    "ISATAP is as good as any": (targets._is_public, "in _ISATAP", "in ()"),
    "what is not assigned is public": (targets._is_public, "not address.is_reserved", "True"),
    "users are let through": (targets.read_url, '"@" in parts.netloc or "#" in url', "False"),
    "every port is open": (targets.read_url, "port not in policy.ports", "False"),
    "plain http goes anywhere": (targets.judge, "if not target.tls:", "if False:"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_guard_that_is_taken_out_is_missed(
    connections: Connections, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    function, guard, instead = MUTANTS[mutant]
    mutate(monkeypatch, function, guard, instead)
    with pytest.raises((AssertionError, pytest.fail.Exception, Failed)):
        _hold(connections)


def _hold(connections: Connections) -> None:
    test_no_spelling_of_an_address_inside_is_connected(connections)
    test_an_exception_opens_its_network_and_nothing_else(connections)
