"""Text of others in a page: nothing in it runs, loads or hides."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from signoff_api.inbox.text import (
    MAX_SHOWN,
    count_hidden,
    duration,
    json_plain,
    json_text,
    json_unquoted,
    markdown,
    moment,
    shown_plain,
    visible,
)

HARMLESS = {"p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "h4", "h5", "h6", "hr", "span"}
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](data:text/html,<script>)",
    '[x](https://evil.example/ "title")',
    "![look](https://evil.example/p.png)",
    "![a](javascript:alert(1))",
    "<https://evil.example>",
    "https://evil.example",
    "[a]: https://evil.example\n\n[a]",
    "```html\n<b onclick=x>\n```",
    "<style>*{display:none}</style>",
    "<iframe src=//evil.example></iframe>",
    "# <svg onload=alert(1)>",
    "[![in](https://evil.example/i.png)](https://evil.example)",
    "`</code><script>`",
    "&lt;script&gt; &#60;script&#62;",
)


class Tags(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_makes_nothing_but_harmless_tags(text: str) -> None:
    found = Tags(markdown(f"before {text}\n\n{text}"))
    assert set(found.tags) <= HARMLESS
    assert {name for name, _ in found.attributes} <= {"class"}
    assert {value for _, value in found.attributes} <= {"address", "address-text"}


def test_a_link_is_its_text_and_its_address_and_an_image_its_words() -> None:
    page = markdown("[the shop](https://evil.example/a) and ![a cat](https://evil.example/c.png)")
    assert "the shop" in page
    assert "(https://evil.example/a)" in page
    assert "[image: a cat (https://evil.example/c.png)]" in page
    several = markdown("[one](https://a.example) [two](https://b.example)")
    assert several.index("https://a.example") < several.index("two") < several.index("https://b.example")


def test_markdown_shows_what_is_emphasized_and_listed() -> None:
    page = markdown("# Big\n\n*a* **b** `c`\n\n- one\n- two\n\n> said")
    assert {"h5", "em", "strong", "code", "ul", "li", "blockquote"} <= set(Tags(page).tags)
    assert "h1" not in Tags(page).tags


def test_markdown_is_cut_where_all_text_is() -> None:
    assert len(markdown("x" * (MAX_SHOWN * 5))) < MAX_SHOWN * 1.1


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_is_not_markdown_has_no_tag_at_all(text: str) -> None:
    assert Tags(visible(text)).tags == []
    assert Tags(json_text({"a": text, text: [text]})).tags == []


def test_every_hidden_character_is_shown_by_its_number() -> None:
    kept = {"\n", "\r", "\t", "\ufe0f"}
    # What Unicode calls a format character and still draws.
    drawn = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.name(c, "").startswith("ARABIC ")}
    drawn |= {"\u070f", "\u08e2", "\U000110bd", "\U000110cd"} - {"\u061c"}
    for number in (*range(0x20), *range(0x7F, 0xA0), *range(sys.maxunicode + 1)):
        character = chr(number)
        if character in kept or (character in drawn and character != "\u061c"):
            continue
        is_hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if is_hidden:
            assert shown_plain(f"a{character}b") == f"a⟦U+{number:04X}⟧b", hex(number)


@pytest.mark.parametrize(
    "character",
    [
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200d",
        "\ufeff",
        "\U000e0041",
        "\u00ad",
        "\u3164",
        "\u115f",
        "\ufe01",
        "\U000e0101",
    ],
)
def test_hidden_characters_are_marked_in_text_attributes_markdown_and_json(character: str) -> None:
    name = f"⟦U+{ord(character):04X}⟧"
    text = f"pay{character}pal"
    assert name in visible(text)
    assert character not in visible(text)
    assert shown_plain(text) == f"pay{name}pal"
    assert name in markdown(text)
    assert character not in markdown(f"[a{character}]({character}https://a.example/{character})")
    assert name in json_text({"a": [text]})
    assert name in json_text({text: 1})
    assert count_hidden(text + character) == 2


def test_what_looks_like_a_mark_or_a_template_is_text() -> None:
    assert visible("{{ 7*7 }} {% raw %} ⟦U+202E⟧") == "{{ 7*7 }} {% raw %} ⟦U+202E⟧"
    assert "49" not in markdown("{{ 7*7 }}")
    assert visible("a\nb\tc") == "a\nb\tc"
    assert count_hidden("a\nb\tc\r\n") == 0


def test_json_choices_are_read_as_people_write_them() -> None:
    assert json_unquoted('"a b"') == "a b"
    assert json_unquoted("1.50") == "1.50"
    assert json_unquoted("true") == "true"
    assert json_plain({"a": 1}) == '{\n  "a": 1\n}'


def test_a_moment_says_its_zone_and_nothing_is_a_dash() -> None:
    at = datetime(2030, 1, 7, 9, 5, 3, tzinfo=UTC)
    assert moment(at) == '<time datetime="2030-01-07T09:05:03Z">07 Jan 2030, 09:05 UTC</time>'
    assert moment("2030-01-07T10:05:03+01:00") == moment(at)
    assert moment(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
        (86_400 * 3 + 4 * 3_600 + 59, "3 d 4 h"),
        (86_400 + 120, "1 d"),
        (86_399, "23 h 59 min"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, says: str) -> None:
    assert duration(seconds) == says
