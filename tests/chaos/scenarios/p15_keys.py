"""An idempotent API: one key five times at once, again after a crash, and with another body."""

from __future__ import annotations

import threading
from typing import Any

from tests.chaos.by_hand import ByHand, Crowd, body_of, by_hand
from tests.chaos.client import Client, Reply
from tests.chaos.faults import Faults
from tests.chaos.registry import LOSE_EVERY, Arena, Outcome, Size, Tier, scenario
from tests.chaos.workload import Item, Wish

AT_ONCE = 5
LANES = 2
STARTS = ("start.before_insert", "start.before_commit", "start.before_publish", "start.before_response")
DECISIONS = (
    "decide.before_update",
    "decide.before_commit",
    "decide.before_publish",
    "decide.before_response",
    "decide.after_response",
)
SHARES = {Wish.APPROVE: 3, Wish.REJECT: 1}


@scenario(
    promise=15,
    title="idempotent API",
    sizes={
        Tier.SLICE: Size(tries=8, faults=1),
        Tier.CI: Size(tries=120, faults=12),
        Tier.LONG: Size(tries=1_200, faults=1_000),
    },
)
def keys(arena: Arena) -> Outcome:
    """`tries` keys, half of them of starts and half of decisions. A process of the API dies in the middle of as many as
    there are faults, and of some more.
    """
    plant = arena.plant(lose_every=LOSE_EVERY)
    return _Keys(arena, arena.faults(plant), by_hand(arena, plant)).played()


class _Keys:
    def __init__(self, arena: Arena, faults: Faults, load: ByHand) -> None:
        self.arena, self.faults, self.load = arena, faults, load
        self.items = arena.items(arena.size.tries // 2, shares=SHARES)
        # Some more than are asked for: now and then the key that was to meet one is through already.
        crashes = min(len(self.items) * 2, arena.size.faults + max(1, arena.size.faults // 5))
        chosen = arena.draw.sample(
            [(item.number, what) for item in self.items for what in ("start", "decide")], crashes
        )
        self.crash_at = {
            each: arena.draw.choice(STARTS if each[1] == "start" else DECISIONS) for each in sorted(chosen)
        }
        self._arming = threading.Lock()
        self._done = 0
        self._lanes = [(Crowd(load, ["portal"] * AT_ONCE), Crowd(load, ["ana"] * AT_ONCE)) for _ in range(LANES)]

    def played(self) -> Outcome:
        with self.load.running():
            self.load.in_lanes(self.items, LANES, self._item)
            self.load.wait()
        for lane in self._lanes:
            for crowd in lane:
                crowd.close()
        return self.arena.judged([self.load], self.faults, tried=self._done)

    def _item(self, lane: int, item: Item) -> None:
        portals, people = self._lanes[lane]
        self.load.expect(item)
        another = body_of(item) | {"input": item.input | {"amount": item.edited}}
        started = self._key(item, "start", portals, "/runs", body_of(item), another)
        run_ids = {reply.json["id"] for reply in started}
        assert len(run_ids) == 1, f"{len(run_ids)} runs under one key"
        (run_id,) = run_ids
        self.load.note_started(item, run_id)
        task = self.load.task_of(people.clients[0], run_id)
        words = {"approve": {"decision": "approve"}, "reject": {"decision": "reject", "note": "the plan says so"}}
        said, other = ("approve", "reject") if item.wish is Wish.APPROVE else ("reject", "approve")
        seen = {"payload_sha256": task["payload_sha256"]}
        decided = self._key(
            item, "decide", people, f"/human-tasks/{task['id']}/decisions", words[said] | seen, words[other] | seen
        )
        ids = {reply.json["decision"]["id"] for reply in decided}
        assert len(ids) == 1, f"{len(ids)} decisions under one key"
        self.load.note_said(item, decided[0])

    def _key(self, item: Item, what: str, crowd: Crowd, path: str, body: Any, another: Any) -> list[Reply]:
        """One key: five times at once, once more, and with another body. The answers of those with this body."""
        key = f"{self.load.tag}-{what}-{item.number}"

        def ask(client: Client) -> Reply:
            return client.ask("POST", path, body, idempotency=key)

        point = self.crash_at.get((item.number, what))
        if point is None:
            replies = crowd.ask([ask] * AT_ONCE)
        else:
            # One at a time: a point is one file, and this key is to meet the crash.
            with self._arming:
                # The first to come by: the others wait at the key's row until it is gone.
                self.faults.arm(point, "kill")
                replies = crowd.ask([ask] * AT_ONCE)
                self.faults.fired(point)
                self.faults.disarm(point)
        replies.append(ask(crowd.clients[0]))
        wrong = [reply for reply in replies if reply.status not in (200, 201)]
        assert not wrong, f"{what}: {wrong[0]}"
        refused = crowd.clients[1].ask("POST", path, another, idempotency=key)
        code = refused.json.get("code") if isinstance(refused.json, dict) else None
        assert (refused.status, code) == (422, "idempotency_mismatch"), f"{what} with another body: {refused}"
        self._done += 1
        if self._done % 100 == 0:
            self.arena.say(f"{self._done} keys, {self.faults.injected} crashes")
        return replies
