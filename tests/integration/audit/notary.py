"""An engine whose log is anchored, and what somebody does to the file of anchors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from tests.integration.engine.world import World

from signoff.anchors.keys import make_pair
from signoff.engine import Verification
from signoff.settings import Settings
from signoff.store.database import Database


@dataclass(frozen=True, kw_only=True)
class Notary:
    """A world, the same without anchors, and the files."""

    world: World
    plain: World
    file: Path
    key: Path

    @classmethod
    @contextmanager
    def at(cls, database_url: str, folder: Path) -> Iterator[Notary]:
        file, key = folder / "anchors.jsonl", folder / "anchor.key"
        public = make_pair(key)
        world = World.on(database_url, anchor_file=file, anchor_key_file=key, anchor_public_key_file=public)
        plain = World.on(database_url)
        yield cls(world=world, plain=plain, file=file, key=key)
        world.engine.close()
        plain.engine.close()

    @property
    def settings(self) -> Settings:
        return self.world.engine.settings

    def with_settings(self, **changed: Any) -> tuple[Database, Settings]:
        """Its database, and its settings with these instead."""
        return self.world.engine.database, self.settings.model_copy(update=changed)

    def anchor(self, *, later: float = 3_600) -> None:
        """An anchor, begun with if need be, an hour after everything that has happened."""
        self.world.later(later)
        made = self.world.engine.anchor(begin=not self.file.exists())
        assert made.made

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.file.read_bytes().splitlines()]

    def verified(self) -> Verification:
        return self.world.engine.verify()

    def problem(self) -> str:
        """What is wrong with the anchors, though every log holds."""
        found = self.verified()
        assert not found.ok
        assert found.first_bad is not None
        assert found.first_bad.run_id is None, found.first_bad
        assert (found.anchored_at, found.unanchored) == (None, None), "nothing is vouched for"
        assert self.plain.engine.verify().ok
        return found.first_bad.problem
