"""Pattern 3, audit trail with asynchronous review: an article goes online at once; compliance reads it afterwards.

    signoff run publish '{"slug": "spring-sale", "title": "Spring sale", "body": "From Monday."}' --watch

The run does not wait. A human task stays beside it and outlives it; approving closes it, rejecting starts `retract`
as a run of its own. `publish.yaml` compiles to the same graph.
"""

from __future__ import annotations

import logging

from pydantic import BaseModel, Field

from signoff import Feedback, Gate, Workflow, step

log = logging.getLogger(__name__)

CLAIMS = ("guaranteed", "risk-free", "cures", "best in the world", "never fails", "100 %")
"""Words that compliance wants to see."""


class Article(BaseModel):
    """What an editor hands in. `slug` becomes part of the address."""

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    title: str = Field(min_length=1, max_length=200)
    body: str = Field(max_length=50_000)


class Checked(BaseModel):
    """The article with what compliance should look at."""

    slug: str
    title: str
    body: str
    claims: list[str]


class Publication(BaseModel):
    """The article as it is online, and as compliance is shown it."""

    path: str
    title: str
    body: str
    claims: list[str]


class Announcement(BaseModel):
    """What subscribers were sent."""

    path: str
    text: str


class Retraction(BaseModel):
    """What was taken offline, and what stands there now."""

    path: str
    notice: str


@step
def check(article: Article) -> Checked:
    """Find the claims that need a proof. They stop nothing here."""
    text = f"{article.title} {article.body}".lower()
    return Checked(**article.model_dump(), claims=[claim for claim in CLAIMS if claim in text])


@step
def put_online(checked: Checked) -> Publication:
    """Publish. There is no site behind this example; doing it twice puts the same page at the same path."""
    path = f"/articles/{checked.slug}"
    log.info("published %s", path)
    return Publication(path=path, title=checked.title, body=checked.body, claims=checked.claims)


@step
def announce(publication: Publication) -> Announcement:
    """Tell the subscribers, while compliance has yet to read the article."""
    log.info("announced %s", publication.path)
    return Announcement(path=publication.path, text=f"New: {publication.title}")


@step
def retract(publication: Publication, *, feedback: Feedback) -> Retraction:
    """Take the article offline again and say so where it stood."""
    log.info("retracted %s, asked by %s", publication.path, feedback.by)
    reason = f" Reason: {feedback.reason}." if feedback.reason else ""
    return Retraction(path=publication.path, notice=f"{publication.title!r} was withdrawn.{reason}")


publish = Workflow(
    "publish",
    [
        check,
        put_online,
        Gate(
            "compliance-review",
            mode="after",
            reviewers="compliance",
            title="Published: {title}",
            consequences={
                "approve": "The review is closed; the article stays online.",
                "reject": "Takes {path} offline and puts a notice there.",
            },
            due="3d",
            remind=["1d", "2d"],
            on_reject=retract,
        ),
        announce,
    ],
    description="An article goes online at once; compliance reads it afterwards and can have it taken down.",
)
