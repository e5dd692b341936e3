"""Which API is called, and as whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from signoff.cli.target import find_target, who_could_decide
from signoff.embedded.dev_file import DevState, write_dev_state
from signoff.errors import ConfigurationError

DEV = "http://127.0.0.1:8400"
KEYS = {"admin": "so_admin", "requester": "so_requester", "ana": "so_ana", "sam": "so_sam", "uma": "so_uma"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGNOFF_HOME", str(tmp_path))
    monkeypatch.delenv("SIGNOFF_API_URL", raising=False)
    monkeypatch.delenv("SIGNOFF_API_KEY", raising=False)
    return tmp_path


@pytest.fixture
def dev(home: Path) -> None:
    urls = {"inbox_url": f"{DEV}/inbox", "database_url": "postgresql:///x", "broker_url": "redis://x"}
    write_dev_state(home, DevState(api_url=DEV, **urls, pids={}, keys=KEYS))


@pytest.mark.usefixtures("dev")
class TestInADevelopmentFolder:
    def test_the_running_one_is_found_with_the_commands_own_identity(self) -> None:
        target = find_target(None, None, None, default="requester")

        assert (target.api_url, target.key, target.acting_as) == (DEV, "so_requester", "requester")

    def test_as_picks_another_identity(self) -> None:
        assert find_target(None, None, "ana", default="admin").key == "so_ana"

    def test_where_somebody_has_to_be_named_nobody_is_taken(self) -> None:
        target = find_target(None, None, None, default=None)

        assert target.key is None
        assert "ana" in target.identities

    def test_an_unknown_identity_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_target(None, None, "bob", default="admin")

        assert caught.value.fix == "one of admin, ana, requester, sam, uma"

    def test_a_key_from_outside_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNOFF_API_KEY", "so_env")

        assert find_target(None, None, None, default="admin").key == "so_env"
        assert find_target(None, "so_flag", None, default="admin").key == "so_flag"

    def test_as_is_more_special_than_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNOFF_API_KEY", "so_env")

        assert find_target(None, None, "ana", default="admin").key == "so_ana"

    def test_as_and_key_together_are_wrong_usage(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_target(None, "so_flag", "ana", default="admin")

        assert caught.value.code == "usage"

    def test_development_keys_are_never_sent_to_another_api(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_target("https://signoff.example", None, None, default="admin")
        assert caught.value.code == "no_key"

        monkeypatch.setenv("SIGNOFF_API_URL", "https://signoff.example")
        with pytest.raises(ConfigurationError) as caught:
            find_target(None, None, "ana", default="admin")
        assert caught.value.code == "no_identity"

    def test_its_own_address_by_name_is_itself(self) -> None:
        assert find_target(f"{DEV}/", None, None, default="admin").key == "so_admin"

    def test_who_could_decide_are_the_candidates_by_name_and_by_group(self) -> None:
        task = {"candidates": {"users": ["uma"], "groups": ["support-leads"]}}

        assert who_could_decide(list(KEYS), task) == ["ana", "sam", "uma"]

    def test_asking_who_could_decide_does_not_load_the_store(self) -> None:
        code = "import sys, signoff.embedded.identities; sys.exit('sqlalchemy' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestOutside:
    def test_without_an_api_the_error_says_how_to_name_one(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_target(None, None, None, default="admin")

        assert caught.value.code == "no_api"
        assert "SIGNOFF_API_URL" in (caught.value.fix or "")

    def test_without_a_key_the_error_says_how_to_make_one(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            find_target("https://signoff.example", None, None, default="admin")

        assert "signoff key create" in (caught.value.fix or "")

    def test_the_environment_names_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SIGNOFF_API_URL", "https://signoff.example/")
        monkeypatch.setenv("SIGNOFF_API_KEY", "so_env")

        target = find_target(None, None, None, default="admin")

        assert (target.api_url, target.key) == ("https://signoff.example", "so_env")

    def test_a_file_that_is_no_state_counts_as_none(self, home: Path) -> None:
        (home / "dev.json").write_text("{")

        with pytest.raises(ConfigurationError):
            find_target(None, None, None, default="admin")
