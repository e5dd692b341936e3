"""Which URLs a channel may have, and that nothing secret is shown of one."""

from __future__ import annotations

import pytest

from signoff.errors import InvalidInput
from signoff.notifications.hearing import without_secrets
from signoff.notifications.services import DEFAULT_SERVICES, MAX_URL, check_url, read_url, secrets_of

SECRET = "kanarienvogel5e1fkanarienvogel"
SAMPLES = (
    f"mailto://bob:{SECRET}@mail.example.com/ana@example.com",
    f"mailtos://bob:{SECRET}@mail.example.com:465/ana@example.com?mode=ssl",
    f"workflows://prod-00.westus.logic.azure.com:443/643e69f83c8944/{SECRET}",
    f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET[:24]}/%23general",
    f"discord://4174216298/{SECRET}",
    f"gchat://workspace/key1234567/{SECRET}",
    f"webex://{SECRET * 3}",
    f"tgram://123456789:{SECRET}/12315544/",
    f"opsgenie://{SECRET}/%23team",
    f"sendgrid://{SECRET}:from@example.com/to@example.com",
    f"mailgun://user@example.com/{SECRET}/to@example.com",
    f"pover://{SECRET}@{SECRET[::-1]}",
    "twilio://AC735c307c62944b5a:e29dfbcebf390dee9@+15551234567/+15557654321",
)


@pytest.mark.parametrize("url", SAMPLES)
def test_services_of_the_list_are_taken_and_their_secrets_not_shown(url: str) -> None:
    service = read_url(url, services=DEFAULT_SERVICES)
    for secret in (SECRET, SECRET[:24], SECRET[::-1], "e29dfbcebf390dee9"):
        assert secret not in service.shown
    said = without_secrets(f"Failed to post to {url}", secrets_of(url, service))
    for secret in (SECRET, SECRET[:24], SECRET[::-1], "e29dfbcebf390dee9"):
        assert secret not in said


@pytest.mark.parametrize(
    "url",
    [
        # What reads and writes here, speaks to the desktop or runs something, or calls whatever it is told to.
        "file:///etc/passwd",
        "syslog://",
        "rsyslog://localhost",
        "dbus://",
        "gnome://",
        "glib://",
        "windows://",
        "macosx://",
        "growl://localhost",
        "json://169.254.169.254/latest",
        "xml://localhost/",
        "form://localhost/",
        "apprise://localhost/token",
        "amqp://localhost/queue",
        "mqtt://localhost/topic",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        # Another form of what is allowed, and more than one.
        "MAILTO://bob:secret@mail.example.com",
        " mailto://bob:secret@mail.example.com",
        "mailto://bob:secret@mail.example.com,json://localhost/",
        "mailto://bob:secret@mail.example.com json://localhost/",
        "mailto://bob:secret@mail.example.com/%0d%0aRCPT",
        "mailto://bob:secret@mail.example.com/" + "x" * MAX_URL,
        # Options that read files, fetch keys, set headers, or are ours.
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?template=/etc/passwd",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV?Template=/etc/passwd",
        "mailto://bob:secret@mail.example.com?pgp=sign&pgpprv=/etc/ssl/private/key",
        "mailto://bob:secret@mail.example.com?wkd=yes",
        "mailto://bob:secret@mail.example.com?+Bcc=eve@example.com",
        "mailto://bob:secret@mail.example.com?%2BBcc=eve@example.com",
        "mailto://bob:secret@mail.example.com?redirect=yes",
        "mailto://bob:secret@mail.example.com?verify=no",
        "mailto://bob:secret@mail.example.com?retry=5",
        # And what Apprise does not take.
        "mailto://",
        "slack://",
        "",
    ],
)
def test_everything_else_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_url(url, services=DEFAULT_SERVICES)
    assert "secret" not in str(caught.value)
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in str(caught.value)


def test_other_services_are_taken_where_the_operator_says_so() -> None:
    found = read_url(f"json://hooks.example.com/{SECRET}", services=("json",))
    assert (found.server, found.shown) == ("hooks.example.com", "json://hooks.example.com")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("mailto://bob:secret@mail.example.com?smtp=10.0.0.1&from=bob@example.com", "10.0.0.1"),
        ("mailto://bob:secret@MAIL.example.com", "mail.example.com"),
        (
            "workflows://prod-00.westus.logic.azure.com:443/643e69f83c8944/438mxLuGMzN9vJbx",
            "prod-00.westus.logic.azure.com",
        ),
    ],
)
def test_a_server_that_the_url_chooses_has_to_be_one_of_those(url: str, server: str) -> None:
    assert check_url(url, services=DEFAULT_SERVICES, hosts=None).server == server
    assert check_url(url, services=DEFAULT_SERVICES, hosts=(server,)).server == server
    with pytest.raises(InvalidInput):
        check_url(url, services=DEFAULT_SERVICES, hosts=("other.example.com",))


def test_a_hosted_service_has_no_server_of_its_own() -> None:
    found = check_url(SAMPLES[3], services=DEFAULT_SERVICES, hosts=())
    assert found.server is None
