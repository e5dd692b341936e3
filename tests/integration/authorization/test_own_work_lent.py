"""Nobody approves their own work by a right that is lent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.authorization.own_work import FLOWS, api, code, decide
from tests.integration.inbox.desk import Desk, open_desk
from tests.mutants import mutate

from signoff import authorization
from signoff.model import SYSTEM


@pytest.fixture(scope="module")
def desk(module_database_url: str, valkey_url: str) -> Iterator[Desk]:
    with open_desk(module_database_url, valkey_url) as made:
        for flow in FLOWS:
            made.engine.register(flow, by=SYSTEM)
        yield made


class TestByDelegation:
    """A right that is lent is no way round: neither for who asked, nor for who decides in their stead."""

    @pytest.fixture(autouse=True)
    def _nothing_left(self, desk: Desk) -> Iterator[None]:
        yield
        desk.sql("UPDATE delegations SET ended_at = now() WHERE ended_at IS NULL")

    @staticmethod
    def _lend(desk: Desk, who: str, to: str) -> None:
        asked = {"delegate": to, "kind": "delegation"}
        assert api(desk, desk.keys[who], "POST", "/delegations", asked).status_code == 201

    def test_who_asked_decides_for_nobody(self, desk: Desk) -> None:
        self._lend(desk, "sam", "ana")
        task = desk.start("strict", {"amount": "7"}, by="ana")
        before = desk.everything()
        assert code(decide(desk, task, desk.keys["ana"], on_behalf_of="sam")) == "four_eyes"
        assert desk.everything() == before

    def test_nobody_decides_for_who_asked(self, desk: Desk) -> None:
        self._lend(desk, "ana", "max")
        task = desk.start("strict", {"amount": "7"}, by="ana")
        before = desk.everything()
        assert code(decide(desk, task, desk.keys["max"], on_behalf_of="ana")) == "four_eyes"
        claimed = api(desk, desk.keys["max"], "PUT", f"/human-tasks/{task}/claim", None)
        assert (claimed.status_code, code(claimed)) == (403, "not_candidate")
        assert desk.everything() == before
        other = desk.start("strict", {"amount": "7"})
        assert decide(desk, other, desk.keys["max"], on_behalf_of="ana").status_code == 201, "where she did not"

    def test_without_the_guard_they_would(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lend(desk, "ana", "max")
        task = desk.start("strict", {"amount": "7"}, by="ana")
        mutate(monkeypatch, authorization._asked_for_it, "facts.four_eyes and", "False and")
        assert decide(desk, task, desk.keys["max"], on_behalf_of="ana").status_code == 201
