"""Claims, assignments and comments around a decision."""

from __future__ import annotations

from uuid import UUID

import pytest
from tests.unit.transitions.desk import REQUESTER, Desk, person
from tests.unit.transitions.graphs import gate, graph, pay

from signoff.errors import Conflict, InvalidInput
from signoff.identity import Principal
from signoff.model import EventType
from signoff.transitions import collaboration


def _asked(**options: object) -> Desk:
    return Desk.opened(graph(gate("ok", "pay", **options), pay()), {"amount": 5})


def _principal(name: str, *groups: str, kind: str = "user", number: int = 1) -> Principal:
    return Principal(id=UUID(int=number), name=name, kind=kind, groups=frozenset(groups))  # type: ignore[arg-type]


def _assign(desk: Desk, assignee: Principal | None, name: str = "sam") -> Desk:
    return desk.do(
        lambda fold, _: collaboration.assign(
            fold, fold.state.human_tasks[desk.task.id], assignee=assignee, name=name, actor=person("boss")
        )
    )


def _comment(desk: Desk, text: str) -> Desk:
    task = desk.tasks[0]
    return desk.do(
        lambda fold, _: collaboration.comment(fold, fold.state.human_tasks[task.id], text=text, actor=person("ana"))
    )


def test_a_claim_holds_until_it_is_given_back() -> None:
    desk = _asked().claim("ana")
    assert desk.task.assignee == "ana"
    assert desk.claim("ana").log == desk.log, "a second time does nothing"
    with pytest.raises(Conflict) as caught:
        desk.claim("ben")
    assert caught.value.code == "claimed"
    assert caught.value.winner == {"by": {"name": "ana"}}
    assert desk.release("ana").claim("ben").task.assignee == "ben"


def test_nobody_gives_back_for_another_except_who_may() -> None:
    desk = _asked().claim("ana")
    with pytest.raises(Conflict):
        desk.release("ben")
    released = desk.release("boss", may_release_for_others=True)
    assert released.task.assignee is None
    assert released.release("ana").log == released.log


def test_a_task_is_assigned_to_a_candidate() -> None:
    desk = _assign(_asked(), _principal("sam", "leads"))
    assert desk.task.assignee == "sam"
    assert desk.log[-1].type is EventType.HUMAN_TASK_ASSIGNED
    assert _assign(desk, _principal("sam", "leads")).log == desk.log


@pytest.mark.parametrize(
    "assignee",
    [
        None,
        _principal("sam", "others"),
        _principal("sam", "leads", kind="agent"),
        _principal("sam", "leads", kind="service"),
    ],
)
def test_a_task_is_assigned_to_nobody_else(assignee: Principal | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        _assign(_asked(), assignee)
    assert caught.value.errors[0].path == "/assignee"


def test_four_eyes_keep_the_requester_from_being_assigned() -> None:
    class Requester(Principal):
        """A principal with the requester's id."""

    requester = Principal(id=UUID(int=7), name="sam", kind="user", groups=frozenset({"leads"}))
    desk = _asked()
    own = Desk(
        graph=desk.graph,
        now=desk.now,
        state=desk.state.__class__(
            **{name: getattr(desk.state, name) for name in desk.state.__slots__ if name != "requester"},
            requester=requester.actor,
        ),
        log=desk.log,
    )
    with pytest.raises(InvalidInput):
        _assign(own, requester)
    relaxed = _asked(four_eyes=False)
    assert _assign(relaxed, requester).task.assignee == "sam"
    assert REQUESTER.id != str(requester.id)


def test_comments_are_kept_and_change_nothing() -> None:
    desk = _asked()
    after = _comment(desk, "have a look")
    assert after.log[-1].data["text"] == "have a look"
    assert after.state.human_tasks == desk.state.human_tasks
    assert _comment(desk.decide("ana", "approve"), "afterwards").log[-1].type is EventType.HUMAN_TASK_COMMENTED


@pytest.mark.parametrize("text", ["", "   ", "x" * 4_001])
def test_a_comment_says_something_and_not_too_much(text: str) -> None:
    with pytest.raises(InvalidInput):
        _comment(_asked(), text)


def test_a_task_that_is_over_is_held_by_nobody_any_more() -> None:
    desk = _asked().decide("ana", "approve")
    for command in (lambda: desk.claim("ben", desk.tasks[0]), lambda: desk.release("ben", task=desk.tasks[0])):
        with pytest.raises(Conflict) as caught:
            command()
        assert caught.value.code == "already_decided"
        assert caught.value.winner is not None
