"""The sign-in link of `signoff dev` is a convenience: nothing stops for want of it."""

from __future__ import annotations

from pathlib import Path

from signoff.embedded.first_link import first_link


def test_without_a_database_there_is_no_link_and_no_error(tmp_path: Path) -> None:
    assert first_link(f"postgresql://postgres@/signoff?host={tmp_path}", "http://127.0.0.1:1") is None
