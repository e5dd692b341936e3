"""docs/inbox.md tells of every key, and of none that is not there; the pictures it shows are there."""

from __future__ import annotations

import re
from pathlib import Path

from signoff_api.inbox.keys import REGISTRY

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "inbox.md"
_ROW = re.compile(r"^\| ((?:`[^`]+` ?)+)\| (everywhere|inbox|review) \| (.+) \|$", re.MULTILINE)
_PICTURE = re.compile(r"!\[[^]]+\]\(([^)]+)\)")


def test_the_page_has_each_key_with_what_it_does_and_no_other() -> None:
    told = [(keys.replace("`", "").strip(), scope, says) for keys, scope, says in _ROW.findall(PAGE.read_text())]
    assert told == [(key.keys, key.scope, key.says) for key in REGISTRY.keys]


def test_every_picture_that_is_shown_is_there_and_every_one_there_is_small() -> None:
    for page in (PAGE, ROOT / "README.md"):
        shown = _PICTURE.findall(page.read_text())
        assert shown, page
        missing = [name for name in shown if not (page.parent / name).is_file()]
        assert missing == [], page
    large = [path.name for path in (ROOT / "docs" / "screens").glob("*.png") if path.stat().st_size > 60_000]
    assert large == []
