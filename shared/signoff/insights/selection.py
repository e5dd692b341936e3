"""Which decided runs can be put before another threshold, and what the condition saw of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from signoff.definition.graph import GateNode, Graph
from signoff.definition.policy import rules_for
from signoff.insights.cases import Opened, Passed, Reviewed
from signoff.insights.whatif import Case, shown_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """The decided runs whose gate had the same condition, score and sample as it has now, and how many had not.

    `drawn` are those in the gate's sample, whatever the condition says of them.
    """

    reviewed: tuple[Reviewed, ...]
    passed: tuple[Passed, ...]
    left_out: int
    drawn: frozenset[UUID]

    @classmethod
    def of(
        cls, node: GateNode, graphs: Mapping[int, Graph], reviewed: Sequence[Reviewed], passed: Sequence[Passed]
    ) -> Comparable:
        """Those among `reviewed` and `passed`; `graphs` are those of their versions."""
        same = {number for number, graph in graphs.items() if _same(graph.nodes.get(node.name), node)}
        tasks = tuple(task for task in reviewed if task.version in same)
        passes = tuple(each for each in passed if each.version in same)
        return cls(
            reviewed=tasks,
            passed=passes,
            left_out=len(reviewed) + len(passed) - len(tasks) - len(passes),
            drawn=_drawn(node, graphs, [*tasks, *passes]),
        )

    def to_look_up(self) -> list[UUID]:
        """The runs whose log has to say how their human task was opened.

        Only a run in the sample can be there because of it, and only where a draft was replaced is the payload no
        longer what the condition saw.
        """
        runs = (task.run_id for task in self.reviewed if task.revision > 1 or task.run_id in self.drawn)
        return list(dict.fromkeys(runs))

    def cases(self, opened: Mapping[UUID, Opened], paths: Iterable[tuple[str, ...]]) -> list[Case]:
        """Each run as a case; `paths` are what the condition reads."""
        wanted = tuple(paths)
        return [*self._by_people(opened, wanted), *self._by_policy(wanted)]

    def _by_people(self, opened: Mapping[UUID, Opened], paths: tuple[tuple[str, ...], ...]) -> Iterator[Case]:
        for task in self.reviewed:
            found = opened.get(task.id)
            shown = task.shown
            if task.revision > 1:
                shown = None if found is None else shown_by(found.values, paths)
            yield Case(
                reviewed=True,
                shown=shown,
                drawn=task.run_id in self.drawn,
                sampled=found is not None and found.sampled,
                label=task.label,
            )

    def _by_policy(self, paths: tuple[tuple[str, ...], ...]) -> Iterator[Case]:
        for each in self.passed:
            shown = None if each.values is None else shown_by(each.values, paths)
            yield Case(reviewed=False, shown=shown, drawn=each.run_id in self.drawn)


def _drawn(node: GateNode, graphs: Mapping[int, Graph], found: Sequence[Reviewed | Passed]) -> frozenset[UUID]:
    if not found or node.sample <= 0:
        return frozenset()
    # The draw is by the run and the gate's name, and the share is the same in all of these versions.
    rules = rules_for(graphs[found[0].version], node.name)
    return frozenset(each.run_id for each in found if rules.samples(each.run_id))


def _same(other: object, node: GateNode) -> bool:
    return isinstance(other, GateNode) and (other.review_if, other.score, other.sample) == (
        node.review_if,
        node.score,
        node.sample,
    )
