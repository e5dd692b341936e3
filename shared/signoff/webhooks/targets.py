"""Where a delivery may go: what a URL has to be, and which addresses nobody is sent to.

A name proves nothing, so the address that it resolves to is judged, and the connection goes to exactly that address.
Every spelling of an address (decimal, octal, short, an IPv6 form around an IPv4 one) is read by the resolver first and
comes here as the address it is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from signoff.errors import ConfigurationError, FieldError, InvalidInput

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2048
_NAME = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,253}")
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(:[0-9]{1,5})?")
_PRINTABLE = re.compile(r"[!-\[\]-~]+")  # ASCII without blanks and the backslash, which some read as a slash

# `is_global` knows most of these, by the edition of the registry that came with this Python; the list is ours so that
# it does not depend on that.
_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(each)
    for each in """
        0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
        192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
        203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32
        ::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16
        fc00::/7 fe80::/10 fec0::/10 ff00::/8
    """.split()  # noqa: SIM905  # thirty networks read better so
)
"""168.63.129.16 is public, and a cloud's own: its machines reach their metadata there."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


class TargetRefused(Exception):
    """Nothing is sent there. The message says why, and fits into one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows. `inside` are networks that are reached although they are private."""

    ports: frozenset[int]
    inside: tuple[Network, ...] = ()
    plain_http: bool = False

    @classmethod
    def of(cls, *, ports: Iterable[str], inside: Iterable[str], plain_http: bool) -> Policy:
        """From the settings. Raises ConfigurationError naming what is no port or network."""
        try:
            numbers = frozenset(int(port) for port in ports)
            networks = tuple(ipaddress.ip_network(each) for each in inside)
        except ValueError as error:
            raise ConfigurationError(
                f"SIGNOFF_WEBHOOK_PORTS or SIGNOFF_WEBHOOK_ALLOW: {error}",
                fix="ports as 443,8443, networks as 10.1.0.0/16,fd00:1::/64",
            ) from error
        return cls(ports=numbers, inside=networks, plain_http=plain_http)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL in its parts. `host` is as the URL has it, without brackets; `path` with the query."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def read_url(url: str, policy: Policy) -> Target:
    """The parts of a URL that may be an endpoint's. Raises TargetRefused for every other; resolves nothing."""
    if not 1 <= len(url) <= MAX_URL or not _PRINTABLE.fullmatch(url):
        raise TargetRefused(f"a URL is at most {MAX_URL} printable ASCII characters, without blanks or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetRefused(f"no URL: {error}") from error
    if parts.scheme not in (("https", "http") if policy.plain_http else ("https",)):
        raise TargetRefused("only https is sent to")
    if "@" in parts.netloc or "#" in url:
        raise TargetRefused("a URL here has no user, password or fragment")
    if not _NETLOC.fullmatch(parts.netloc):
        raise TargetRefused("the host has no form of a name or an address (an international one is written as xn--…)")
    tls = parts.scheme == "https"
    if port is None:
        port = 443 if tls else 80
    if port not in policy.ports:
        raise TargetRefused(f"port {port} is not among those of SIGNOFF_WEBHOOK_PORTS")
    host = _host(parts.netloc, parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(tls=tls, host=host, port=port, path=path)


def check_url(url: str, policy: Policy) -> None:
    """Raises InvalidInput naming the field when no endpoint may have this URL."""
    try:
        target = read_url(url, policy)
        literal = _literal(target.host)
        if literal is not None:
            judge(literal, target, policy)
    except TargetRefused as error:
        raise InvalidInput(errors=[FieldError(path="/url", message=str(error), fix="https://host/path")]) from error


def judge(found: str, target: Target, policy: Policy) -> Address:
    """The address to connect to, of what a resolver found. Raises TargetRefused unless it is public, or allowed."""
    try:
        address: Address = ipaddress.ip_address(found.partition("%")[0])
    except ValueError as error:
        raise TargetRefused("the resolver's answer is no address") from error
    address = _plain(address)
    if any(address in network for network in policy.inside):
        return address
    if not _is_public(address):
        raise TargetRefused(f"{address} is no public address; SIGNOFF_WEBHOOK_ALLOW can allow it")
    if not target.tls:
        raise TargetRefused("plain http goes only to what SIGNOFF_WEBHOOK_ALLOW names")
    return address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        # Behind a NAT64 every name that has only IPv4 addresses resolves to this prefix, so it is judged by what it
        # holds.
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in _REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address) and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    # What nobody has been given yet, and what a newer edition of the registry knows.
    return address.is_global and not address.is_reserved


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one, as what it is: by it the packets go."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _host(netloc: str, host: str) -> str:
    if netloc.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise TargetRefused("no IPv6 address between the brackets") from error
    if not _NAME.fullmatch(host) or ".." in host or host.startswith("."):
        raise TargetRefused("the host has no form of a name")
    return host


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
