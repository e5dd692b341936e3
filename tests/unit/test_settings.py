"""Settings: a value that is not allowed names its variable, and secrets stay secret."""

from __future__ import annotations

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from signoff.errors import ConfigurationError
from signoff.settings import Settings, load_settings

BOUNDED = [(name, field) for name, field in Settings.model_fields.items() if field.annotation in (int, float)]
URL = "postgresql://signoff:hunter2@db/signoff"


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SIGNOFF_{name.upper()}", raising=False)


def outside(field: FieldInfo) -> list[float]:
    """The values next to both bounds, beyond them."""
    found: list[float] = []
    for bound in field.metadata:
        if isinstance(bound, annotated_types.Ge):
            found.append(float(bound.ge) - 1)  # type: ignore[arg-type]
        if isinstance(bound, annotated_types.Gt):
            found.append(float(bound.gt))  # type: ignore[arg-type]
        if isinstance(bound, annotated_types.Le):
            found.append(float(bound.le) + 1)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(("name", "field"), BOUNDED, ids=[name for name, _ in BOUNDED])
def test_every_number_has_two_bounds_and_a_value_beyond_them_names_its_variable(
    name: str, field: FieldInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"SIGNOFF_{name.upper()}"
    beyond = outside(field)
    assert len(beyond) == 2, "everything is bounded"
    for value in (*(f"{number:g}" for number in beyond), "many", "", "nan"):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError, match=rf"^{variable}: ") as refused:
            load_settings()
        assert refused.value.fix


@pytest.mark.parametrize(
    ("name", "value"), [("POOL", "gevent"), ("LOG_LEVEL", "LOUD"), ("LOG_JSON", "perhaps"), ("LEASE_SECONDS", "1 h")]
)
def test_a_word_that_is_not_known_names_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SIGNOFF_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^SIGNOFF_{name}: "):
        load_settings()


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOFF_POOL", "gevent")
    monkeypatch.setenv("SIGNOFF_CONCURRENCY", "0")
    with pytest.raises(ConfigurationError, match=r"SIGNOFF_POOL: .*; SIGNOFF_CONCURRENCY: "):
        load_settings()


def test_lists_are_names_with_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOFF_QUEUES", " llm, ,default,")
    monkeypatch.setenv("SIGNOFF_LOG_LEVEL", "debug")
    settings = load_settings()
    assert settings.queues == ("llm", "default")
    assert settings.modules == ()
    assert settings.log_level == "DEBUG"


def test_a_url_that_is_missing_names_its_variable() -> None:
    settings = load_settings()
    with pytest.raises(ConfigurationError, match="SIGNOFF_DATABASE_URL is not set"):
        settings.require_database_url()
    with pytest.raises(ConfigurationError, match="SIGNOFF_BROKER_URL is not set"):
        settings.require_broker_url()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOFF_DATABASE_URL", URL)
    monkeypatch.setenv("SIGNOFF_BROKER_URL", URL.replace("postgresql", "amqp"))
    settings = load_settings()
    assert settings.require_database_url() == URL
    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert "hunter2" not in shown


def test_a_bad_value_does_not_bring_a_secret_into_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNOFF_DATABASE_URL", URL)
    monkeypatch.setenv("SIGNOFF_POOL", "gevent")
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_settings_can_not_be_changed_afterwards() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.pool = "solo"  # type: ignore[misc]
