"""Text that other people or machines wrote, made safe to show in a page.

Escaped by default. Markdown only where the payload's schema says so, without images, raw HTML or live links. The
hidden characters of either are shown as `⟦U+202E⟧`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import nh3
import orjson
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from signoff.hidden_text import code_point, shown, split_hidden

MAX_SHOWN = 20_000
"""Characters of one text that a page shows; the rest is behind a link to all of it."""

_TAGS = {"p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "h4", "h5", "h6", "hr", "span"}


def visible(text: object) -> Markup:
    """`text` as HTML text, hidden characters marked."""
    parts = []
    for piece, hidden in split_hidden(str(text)):
        if hidden:
            name = code_point(piece)
            parts.append(Markup('<span class="hidden-char" title="hidden character">⟦{}⟧</span>').format(name))
        else:
            parts.append(escape(piece))
    return Markup("").join(parts)


def count_hidden(text: object) -> int:
    """How many hidden characters `text` has."""
    return sum(hidden for _, hidden in split_hidden(str(text)))


def shown_plain(text: str) -> str:
    """The same without markup, for attributes and titles."""
    return shown(text)


def markdown(text: str) -> Markup:
    """Markdown as HTML of a few harmless tags; a link is its text and its address, an image its words."""
    html = _renderer().render(shown_plain(text[:MAX_SHOWN]))
    # The renderer makes nothing else; this is the second lock on the same door.
    return Markup(nh3.clean(html, tags=_TAGS, attributes={"span": {"class"}}))  # noqa: S704  # just cleaned


def json_text(value: Any) -> Markup:
    """A JSON value on several lines, escaped, hidden characters marked."""
    return visible(json_plain(value))


def json_plain(value: Any) -> str:
    """A JSON value on several lines, as text that still has to be escaped."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def json_unquoted(text: str) -> str:
    """A choice of a form, given as JSON, as people read and send it: a string without its quotes."""
    value = orjson.loads(text)
    return value if isinstance(value, str) else text


def moment(at: datetime | str | None) -> Markup:
    """A moment as `<time>`: in UTC here, and in the reader's own zone once the page's script has seen it."""
    if at is None:
        return Markup("–")
    found = (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)
    machine = found.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(machine, found.strftime("%d %b %Y, %H:%M UTC"))


def duration(seconds: float) -> str:
    """Two units at most: `45 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    while parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False})
    made.disable(["html_inline", "html_block", "reference"])
    made.add_render_rule("link_open", lambda *_: '<span class="address-text">')
    made.add_render_rule("link_close", _link_close)
    made.add_render_rule("image", _image)
    made.add_render_rule("heading_open", lambda *_: "<h5>")
    made.add_render_rule("heading_close", lambda *_: "</h5>")
    return made


def _link_close(_self: Any, tokens: Any, at: int, *_: Any) -> str:
    opening = next(token for token in reversed(tokens[:at]) if token.type == "link_open")
    return f'</span> <span class="address">({escape(opening.attrGet("href") or "")})</span>'


def _image(_self: Any, tokens: Any, at: int, *_: Any) -> str:
    token = tokens[at]
    words = escape(token.content or "no words")
    return f'<span class="address">[image: {words} ({escape(token.attrGet("src") or "")})]</span>'
