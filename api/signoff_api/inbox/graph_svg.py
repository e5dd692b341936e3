"""A workflow's graph as a drawing: the main line straight down, each branch on a lane beside it.

Only geometry: lines, marks and texts with their places, which the template writes as SVG. It is as wide as a phone
unless the names are long, and its height grows with the graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from signoff.definition.edges import Edge, edges, main_line_first
from signoff_api.inbox.run_path import Path, Stop

MAX_NAME = 34
"""Characters of a name in the drawing; the text beside it has all of it."""

MAX_GUTTERS = 6
"""Ways on the left side that have a line each; more than these share."""

_LANE = 30
_NODE_HEIGHT = 54
_WAY_HEIGHT = 30
_GUTTER = 12
_RADIUS = 11
_TOP = 26
_NAME_WIDTH = 8.4
_WORD_WIDTH = 7.0
_MIN_WIDTH = 280


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A way, as the path of an SVG. `back` is one that leads to where the run has been."""

    d: str
    walked: bool
    back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A node and the words beside it."""

    x: float
    y: float
    text_x: float
    stop: Stop
    name: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminus:
    """An ending of the run."""

    x: float
    y: float
    text_x: float
    status: str
    said: str
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """The name of a way, beside its line."""

    x: float
    y: float
    text: str
    walked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One node of the text twin: the stop and where its ways lead."""

    stop: Stop
    ways: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Drawing:
    """Everything there is to draw, and the same in words."""

    width: int = _MIN_WIDTH
    height: int = 0
    lines: list[Line] = field(default_factory=list)
    arrows: list[Line] = field(default_factory=list)
    stations: list[Station] = field(default_factory=list)
    termini: list[Terminus] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Join:
    """A branch that comes back to a line further down: where its rail starts and whether it was gone."""

    lane: int
    y: float
    edge: Edge


def draw(path: Path) -> Drawing:
    """The graph of a run with the run's position in it."""
    draft = _Draft(path, backs=0)
    made = draft.finish()
    # Only the whole drawing shows how many ways go along its left side; then there has to be room for them.
    return _Draft(path, backs=draft.backs).finish() if draft.backs else made


class _Draft:
    """The drawing while it grows downwards."""

    def __init__(self, path: Path, *, backs: int) -> None:
        self._path = path
        self._gutters = min(backs, MAX_GUTTERS)
        self._edges: dict[str, list[Edge]] = {}
        for edge in edges(path.graph):
            self._edges.setdefault(edge.source, []).append(edge)
        self._branches = {line[0]: line for line in main_line_first(path.graph)}
        self._at: dict[str, tuple[float, float]] = {}
        self._joins: dict[str, list[_Join]] = {}
        self._backs: list[Edge] = []
        self._left = 16.0 + _GUTTER * self._gutters
        self._y = float(_TOP)
        self._made = Drawing()

    @property
    def backs(self) -> int:
        """How many ways lead aside to a node that is drawn elsewhere."""
        return len(self._backs)

    def finish(self) -> Drawing:
        for head in list(self._branches):
            # The first is the main line; what is left after it is led to by nothing.
            if head in self._branches:
                self._line(self._branches.pop(head), lane=0)
        for at, edge in enumerate(self._backs):
            self._arc(edge, at)
        made = self._made
        # In the order of the drawing from top to bottom, which is how it is read.
        made.told = [self._tell(station.stop) for station in made.stations]
        bottoms = [*(station.y + 22 for station in made.stations), *(end.y + 10 for end in made.termini)]
        made.height = round(max([*bottoms, *(caption.y + 6 for caption in made.captions)]) + 4)
        texts = [(s.text_x, max(len(s.name) * _NAME_WIDTH, len(s.said) * _WORD_WIDTH)) for s in made.stations]
        texts += [(t.text_x, len(t.said) * _WORD_WIDTH) for t in made.termini]
        texts += [(c.x, len(c.text) * _WORD_WIDTH) for c in made.captions]
        made.width = max(_MIN_WIDTH, round(max(x + width for x, width in texts) + 8))
        return made

    def _line(self, line: list[str], *, lane: int) -> None:
        for at, name in enumerate(line):
            self._station(name, lane)
            following = line[at + 1] if at + 1 < len(line) else None
            self._ways(name, lane, following)

    def _station(self, name: str, lane: int) -> None:
        x, y = self._x(lane), self._y
        self._at[name] = (x, y)
        text_x = self._text_x(lane)
        for join in self._joins.pop(name, ()):
            start = self._x(join.lane)
            d = f"M{start:g} {join.y:g}V{y - 26:g}C{start:g} {y - 8:g} {x + 20:g} {y:g} {x:g} {y:g}"
            self._made.lines.append(Line(d=d, walked=self._path.walked(join.edge)))
        stop = self._path.stops[name]
        said = " · ".join((stop.word, *stop.notes))
        self._made.stations.append(
            Station(x=x, y=y, text_x=text_x, stop=stop, name=_cut(name, MAX_NAME), said=_cut(said, 52))
        )
        self._y += _NODE_HEIGHT

    def _ways(self, name: str, lane: int, following: str | None) -> None:
        """What leads on from a node: its side ways first, at last the rail to what follows on the same line."""
        plain: list[Edge] = []
        beside: dict[tuple[str, bool], list[Edge]] = {}
        for edge in self._edges.get(name, ()):
            own = edge.target == (following or self._path.graph.nodes[name].next) and not edge.ends
            last = edge.ends and edge.target == "completed" and self._path.graph.nodes[name].next is None
            if own or last:
                plain.append(edge)
            else:
                beside.setdefault((edge.target, edge.ends), []).append(edge)
        # Ways back and short ways out first: a branch takes all the rows down to its end.
        order = sorted(beside.items(), key=lambda found: (found[0][0] in self._branches, found[0][1]))
        for (target, _), ways in order:
            self._side_way(name, lane, target, ways)
        self._rail(name, lane, following, plain)

    def _side_way(self, name: str, lane: int, target: str, ways: list[Edge]) -> None:
        x, y = self._at[name]
        walked = any(self._path.walked(way) for way in ways)
        label = _labels(ways)
        branch = None if ways[0].ends else self._branches.pop(target, None)
        if branch is None and not ways[0].ends:
            self._caption(f"{'↩' if target in self._at else '→'} {label}: {target}", walked, self._text_x(lane))
            self._backs.append(next((way for way in ways if self._path.walked(way)), ways[0]))
            return
        aside = self._free_lane(lane)
        if ways[0].ends:
            self._lead(x, y, aside, self._y - 8, walked)
            self._terminus(aside, self._y - 8, target, f"{label}: run {target}", walked)
            self._y += _WAY_HEIGHT
            return
        assert branch is not None
        self._caption(label, walked, self._text_x(aside))
        self._y += 6
        self._lead(x, y, aside, self._y, walked)
        self._line(branch, lane=aside)

    def _rail(self, name: str, lane: int, following: str | None, plain: list[Edge]) -> None:
        """From a node to what comes after it: the next on its line, the end of the run, or another line."""
        x, y = self._at[name]
        walked = any(self._path.walked(way) for way in plain)
        target = self._path.graph.nodes[name].next
        label = _labels([way for way in plain if way.label])
        if label and following is None and target is not None:
            label = f"{label} → {target}"
        if label:
            self._caption(label, walked, self._text_x(lane))
        if following is not None:
            self._made.lines.append(Line(d=f"M{x:g} {y:g}V{self._y:g}", walked=walked))
            return
        if target is None:
            if plain:
                self._made.lines.append(Line(d=f"M{x:g} {y:g}V{self._y - 8:g}", walked=walked))
                self._terminus(lane, self._y - 8, "completed", "run completed", walked)
                self._y += _NODE_HEIGHT - 12
            return
        if target in self._at:
            self._backs.append(plain[0])
        else:
            self._joins.setdefault(target, []).append(_Join(lane=lane, y=y, edge=plain[0]))

    def _lead(self, x: float, y: float, lane: int, to_y: float, walked: bool) -> None:
        """From a gate aside to another lane: down its own, then over."""
        end = self._x(lane)
        turn = max(to_y - 28, y)
        d = f"M{x:g} {y:g}V{turn:g}C{x:g} {to_y - 4:g} {x + 8:g} {to_y:g} {end:g} {to_y:g}"
        self._made.lines.append(Line(d=d, walked=walked))

    def _arc(self, edge: Edge, at: int) -> None:
        """A way back, along the left side, with an arrow at its end."""
        (x, y), (to_x, to_y) = self._at[edge.source], self._at[edge.target]
        side = self._left - 18 - _GUTTER * (at % max(1, self._gutters))
        sign = 1 if to_y > y else -1
        tip = to_x - _RADIUS - 4
        d = (
            f"M{x - _RADIUS:g} {y:g}H{side + 8:g}Q{side:g} {y:g} {side:g} {y + 8 * sign:g}"
            f"V{to_y - 8 * sign:g}Q{side:g} {to_y:g} {side + 8:g} {to_y:g}H{tip - 4:g}"
        )
        walked = self._path.walked(edge)
        self._made.lines.append(Line(d=d, walked=walked, back=True))
        arrow = f"M{tip - 6:g} {to_y - 5:g}L{tip + 1:g} {to_y:g}L{tip - 6:g} {to_y + 5:g}Z"
        self._made.arrows.append(Line(d=arrow, walked=walked, back=True))

    def _terminus(self, lane: int, y: float, status: str, said: str, reached: bool) -> None:
        self._made.termini.append(
            Terminus(
                x=self._x(lane), y=y, text_x=self._text_x(lane), status=status, said=_cut(said, 52), reached=reached
            )
        )

    def _caption(self, text: str, walked: bool, x: float) -> None:
        self._made.captions.append(Caption(x=x, y=self._y - 12, text=_cut(text, 52), walked=walked))
        self._y += 18

    def _tell(self, stop: Stop) -> Told:
        ways = []
        for edge in self._edges.get(stop.name, ()):
            to = f"the run is {edge.target}" if edge.ends else edge.target
            gone = ", the way it went" if self._path.walked(edge) else ""
            ways.append(f"{edge.label or 'then'}: {to}{gone}")
        return Told(stop=stop, ways=tuple(ways))

    def _x(self, lane: int) -> float:
        return self._left + _LANE * lane

    def _text_x(self, lane: int) -> float:
        """Right of every rail that passes here."""
        passing = [join.lane for joins in self._joins.values() for join in joins]
        return self._x(max([lane, *passing])) + 24

    def _free_lane(self, lane: int) -> int:
        return max([lane, *(join.lane for joins in self._joins.values() for join in joins)]) + 1


def _labels(ways: Iterable[Edge]) -> str:
    return ", ".join(way.label for way in ways)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
