"""Which rows of a list a principal may see: `signoff.authorization` as SQL; a test holds them equal."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from signoff.authorization import Action, Reach, reach
from signoff.identity import Principal
from signoff.store.schema import human_tasks

_NAMES = pg.ARRAY(sa.Text)


def is_candidate(user: str, groups: frozenset[str]) -> sa.ColumnElement[bool]:
    """The human tasks that a person of this name and these groups may decide."""
    named = sa.type_coerce(human_tasks.c.candidate_users, _NAMES).contains([user])
    if not groups:
        return named
    return sa.or_(named, sa.type_coerce(human_tasks.c.candidate_groups, _NAMES).overlap(sorted(groups)))


def is_asked(viewer: Principal) -> sa.ColumnElement[bool]:
    """The human tasks that this person may decide, or those for whom they may decide."""
    # The same two indexed conditions with more names; a mandate for one workflow alone is a condition of its own.
    everywhere = [each for each in viewer.mandates if each.workflow is None]
    users = [viewer.name, *(each.name for each in everywhere)]
    groups = viewer.groups.union(*(each.groups for each in everywhere))
    conditions = [_asks_some(users, groups)]
    for each in viewer.mandates:
        if each.workflow is not None:
            asked = is_candidate(each.name, each.groups)
            conditions.append(sa.and_(human_tasks.c.workflow == each.workflow, asked))
    return sa.or_(*conditions)


def _asks_some(users: list[str], groups: frozenset[str]) -> sa.ColumnElement[bool]:
    if len(users) == 1:
        return is_candidate(users[0], groups)
    named: sa.ColumnElement[bool] = sa.type_coerce(human_tasks.c.candidate_users, _NAMES).overlap(sorted(set(users)))
    return sa.or_(named, sa.type_coerce(human_tasks.c.candidate_groups, _NAMES).overlap(sorted(groups)))


def takes_part(viewer: Principal) -> sa.ColumnElement[bool]:
    """The human tasks in which somebody is a candidate or holds the task; the requester's come on top."""
    holds = human_tasks.c.assignee == viewer.name
    return sa.or_(holds, is_asked(viewer)) if viewer.kind == "user" else holds


def visible_human_tasks(viewer: Principal) -> list[sa.ColumnElement[bool]]:
    """The conditions that leave the human tasks which somebody may see."""
    part = sa.or_(human_tasks.c.requester_id == str(viewer.id), takes_part(viewer))
    return seen_by(viewer, reach(viewer, Action.READ_HUMAN_TASK), human_tasks.c.workflow, part)


def seen_by(
    viewer: Principal, by_role: Reach, workflow: sa.Column[str], part: sa.ColumnElement[bool]
) -> list[sa.ColumnElement[bool]]:
    """The conditions that leave what the viewer may see by a role, or has a part in, and its key reaches."""
    if by_role is None:
        return []
    where = [sa.or_(workflow.in_(sorted(by_role)), part) if by_role else part]
    if viewer.workflows is not None:
        where.append(workflow.in_(sorted(viewer.workflows)))
    return where


def within(found: Reach, workflow: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
    """The conditions that leave the rows of these workflows."""
    return [] if found is None else [workflow.in_(sorted(found))]
