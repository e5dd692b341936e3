"""Which Apprise URLs a channel may have, and what is shown of one.

A URL names a service and carries the secrets for it. Apprise knows services that write into this machine, speak to its
desktop or call any address that is asked for, so a scheme has to be on a list; and of the options of those that are,
the ones that read files, fetch keys or follow to somewhere else are refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from signoff.errors import FieldError, InvalidInput
from signoff.notifications.hearing import keep_quiet

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

HOSTED = (
    "slack",
    "discord",
    "gchat",
    "webex",
    "wxteams",
    "tgram",
    "pagerduty",
    "opsgenie",
    "sendgrid",
    "mailgun",
    "twilio",
    "pover",
)
"""Services that Apprise reaches at their own address, whatever the URL says."""

MAIL = ("mailto", "mailtos")
TEAMS = ("workflows", "workflow")
DEFAULT_SERVICES = (*MAIL, *TEAMS, *HOSTED)

MAX_URL = 2048
_SHORTEST_SECRET = 4
_SCHEME = re.compile(r"([a-z0-9]{2,20})://")
_PRINTABLE = re.compile(r"[!-~]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# `template` reads a file or fetches one, and the keys of mail do too; `wkd` asks a server that an address names;
# `redirect` lets an answer lead elsewhere, `verify` lets anybody answer. Trying again and time limits are ours.
_OF_FILES = ("template", "pgp", "pgppub", "pgpprv", "pgpkey", "keyfile", "subfile")
_OF_OTHERS = ("wkd", "redirect", "verify")
_OURS = ("retry", "wait", "rto", "cto", "overflow", "emojis", "tz")
_REFUSED = frozenset((*_OF_FILES, *_OF_OTHERS, *_OURS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A URL that may be a channel's. `shown` has none of its secrets; `server` is one that the URL chose itself."""

    scheme: str
    shown: str
    server: str | None


def read_url(url: str, *, services: Collection[str]) -> Service:
    """What a URL leads to. Raises InvalidInput, whose message repeats nothing of it; connects to nothing."""
    if not 1 <= len(url) <= MAX_URL or not _PRINTABLE.fullmatch(url) or _CONTROL.search(unquote(url)):
        raise _bad(f"a URL is at most {MAX_URL} printable ASCII characters, without blanks")
    # Apprise takes a scheme in any case, a web address of some services and a list of URLs; here it is one form.
    found = _SCHEME.match(url)
    if found is None or found[1] not in services:
        raise _bad(
            "the scheme is not among those of SIGNOFF_NOTIFY_SERVICES",
            fix="mailto://server/person@example.com?from=me@example.com, slack://…; docs/notifications.md has the list",
        )
    if url.count("://") > 1 or "," in url:
        raise _bad("a channel is one URL; write a comma as %2C, and :// within it as %3A%2F%2F")
    refused = {name for name in _options(url) if name in _REFUSED or not name.isalnum()}
    if refused:
        known = sorted(refused & _REFUSED)
        raise _bad(f"these options are not taken: {', '.join(known)}" if known else "an option is not taken")
    plugin = plugin_of(url)
    if plugin is None:
        raise _bad("Apprise does not take this URL")
    return Service(scheme=found[1], shown=_shown(found[1], plugin), server=_server(found[1], plugin))


def check_url(url: str, *, services: Collection[str], hosts: Collection[str] | None) -> Service:
    """The same, where a server that the URL chooses has to be one of `hosts`; None means that it may be any."""
    service = read_url(url, services=services)
    if hosts is not None and service.server is not None and service.server not in hosts:
        raise _bad("the server is not among those of SIGNOFF_NOTIFY_HOSTS", fix="an administrator may name any")
    return service


def plugin_of(url: str, *, seconds: float | None = None) -> NotifyBase | None:
    """Apprise's object for a URL, which keeps nothing on the disk and follows no redirect; None where there is none.

    `seconds` bounds each wait of it for a connection or an answer.
    """
    keep_quiet()
    # Loading it takes a quarter of a second, and only who sends or adds a channel needs it.
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="Signoff",
        app_desc="Signoff",
        storage_mode="memory",
        http_redirects=False,
        pgp_autogen=False,
        interpret_escapes=False,
        interpret_emojis=False,
    )
    plugin: Any = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is not None and seconds is not None:
        plugin.socket_connect_timeout = seconds
        plugin.socket_read_timeout = seconds
    made: NotifyBase | None = plugin
    return made


def secrets_of(url: str, service: Service) -> list[str]:
    """Every part of a URL that is not shown of it, as it is written and as it is meant; the longest first."""
    known = {*_parts(service.shown), *_parts(unquote(service.shown)), service.server, ""}
    parts = {text for part in _parts(url) for text in (part, unquote(part))}
    return sorted((part for part in parts - known if len(part) >= _SHORTEST_SECRET), key=len, reverse=True)


def _parts(url: str) -> list[str]:
    return re.split(r"[/:@?&=#,;]+", url)


def _options(url: str) -> set[str]:
    """The names of all options, as Apprise reads them: a sign before a name makes it a header or a field."""
    query = url.partition("?")[2]
    return {unquote(part.partition("=")[0]).strip().lower() for part in re.split("[&;?]", query) if part}


def _shown(scheme: str, plugin: Any) -> str:
    # Of services that call any address Apprise masks the password alone, and any part of their path may be a token.
    if scheme not in DEFAULT_SERVICES:
        return f"{scheme}://{plugin.host or ''}"
    # Options are left out as a whole: Apprise masks those it knows to be secret, not what somebody took for one.
    shown: str = plugin.url(privacy=True).partition("?")[0]
    return shown


def _server(scheme: str, plugin: Any) -> str | None:
    if scheme in HOSTED:
        return None
    found = getattr(plugin, "smtp_host", None) or plugin.host or ""
    return str(found).lower()


def _bad(message: str, fix: str | None = None) -> InvalidInput:
    return InvalidInput(errors=[FieldError(path="/url", message=message, fix=fix)])
