"""The log file of one child."""

from __future__ import annotations

from pathlib import Path

import pytest

from signoff.embedded import child_log
from signoff.embedded.child_log import ChildLog


def test_lines_come_out_whole_however_they_arrive(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "api.log")

    assert log.feed(b"fir") == []
    assert log.feed(b"st\r\nsecond\nth") == ["first", "second"]
    assert log.finish_line() == ["th"]
    assert log.finish_line() == []
    log.close()

    assert (tmp_path / "api.log").read_bytes() == b"first\r\nsecond\nth"


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "api.log")

    assert log.feed(b"\xff\xfe\n") == ["\ufffd\ufffd"]

    log.close()


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "api.log")

    assert [len(line) for line in log.feed(b"x" * 70_000)] == [70_000]
    assert log.finish_line() == []

    log.close()


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_log, "LARGEST_LOG_BYTES", 100)
    log = ChildLog(tmp_path / "api.log")

    for number in range(50):
        log.feed(b"%09d\n" % number)
    log.close()

    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {"api.log": 100, "api.log.1": 100}
    assert (tmp_path / "api.log").read_text().endswith("000000049\n")


def test_the_tail_has_the_last_lines_only(tmp_path: Path) -> None:
    log = ChildLog(tmp_path / "api.log")

    log.feed("".join(f"{number}\n" for number in range(100)).encode())
    log.close()

    assert log.tail == tuple(str(number) for number in range(75, 100))
