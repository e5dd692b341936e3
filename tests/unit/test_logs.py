"""Logs name what opens something by its prefix alone, whoever wrote the line."""

from __future__ import annotations

import pytest

from signoff.logs import without_tokens

SECRET = "Ab3-_" * 8 + "xyz"


@pytest.mark.parametrize("kind", ["so", "sl", "sc"])
@pytest.mark.parametrize("line", ["{}", "GET /l/{}?x=1 HTTP/9", "'{}'", "a={};b", "https://h/l/{}\n  File x", "({})"])
def test_a_token_is_cut_down_to_its_prefix(kind: str, line: str) -> None:
    for token in (f"{kind}_abcdefg2_{SECRET}", f"{kind}%5Fabcdefg2%5f{SECRET}", f"{kind}_abcdefg2_{SECRET}".upper()):
        found = without_tokens(line.format(token))
        assert SECRET.lower() not in found.lower()
        assert "abcdefg2" in found.lower()
        assert (
            found.lower().replace("%5f", "_").replace("_…", "_" + SECRET.lower())
            == line.format(f"{kind}_abcdefg2_{SECRET.lower()}").lower()
        )


@pytest.mark.parametrize("line", ["a run of so_what", "slow_and_steady", "sc_x", "/runs/01a20304-6249-76bb-8d5a-b8ac"])
def test_the_rest_stays_as_it_is(line: str) -> None:
    assert without_tokens(line) == line
