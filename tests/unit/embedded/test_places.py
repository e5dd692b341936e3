"""Where `signoff dev` keeps things."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from signoff.embedded import places
from signoff.errors import ConfigurationError


def test_the_home_is_for_its_owner_alone_and_ignored_by_git(tmp_path: Path) -> None:
    home = places.prepare_home(tmp_path / "deep" / ".signoff")

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert (home / ".gitignore").read_text() == "*\n"


def test_a_home_that_is_a_file_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")

    with pytest.raises(ConfigurationError) as caught:
        places.prepare_home(tmp_path / "home")

    assert "SIGNOFF_HOME" in (caught.value.fix or "")


def test_a_short_plain_home_holds_its_own_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST_SOCKET_PATH", len(str(tmp_path)) + 40)

    assert places.socket_directory(tmp_path) == tmp_path / "run"


@pytest.mark.parametrize("name", ["x" * 90, "with blank", "ünicode", "per%cent", "question?mark"])
def test_a_home_whose_path_fits_no_socket_or_url_gets_a_short_directory_and_keeps_it(tmp_path: Path, name: str) -> None:
    home = places.prepare_home(tmp_path / name)

    first = places.socket_directory(home)

    try:
        assert len(str(first)) < 50
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        assert places.socket_directory(home) == first
    finally:
        first.rmdir()


def test_a_socket_directory_that_others_may_enter_is_not_used_again(tmp_path: Path) -> None:
    home = places.prepare_home(tmp_path / ("x" * 90))
    first = places.socket_directory(home)
    first.chmod(0o755)

    second = places.socket_directory(home)

    try:
        assert second != first
    finally:
        first.rmdir()
        second.rmdir()


def test_a_private_file_is_replaced_whole_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text("old")
    path.chmod(0o644)

    places.write_private(path, "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
