"""A page as a browser without scripts has it: a tree, and forms that send what such a browser would send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
INLINE = {"a", "code", "em", "ins", "del", "kbd", "span", "strong", "svg", "path", "time"}


@dataclass(eq=False)
class Node:
    """One element."""

    tag: str
    attrs: dict[str, str | None] = field(default_factory=dict)
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Node]:
        """This element and all within it, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child

    @property
    def text(self) -> str:
        """What is read in it, on one line."""
        return " ".join(self._spaced().split())

    def _spaced(self) -> str:
        inner = "".join(child if isinstance(child, str) else child._spaced() for child in self.children)
        return inner if self.tag in INLINE else f" {inner} "

    @property
    def raw(self) -> str:
        return "".join(child if isinstance(child, str) else child.raw for child in self.children)

    def find(self, tag: str = "", **attrs: str | bool) -> list[Node]:
        """The elements within it with these attributes; True is any value. `_` stands for `-`."""
        wanted = {name.strip("_").replace("_", "-"): value for name, value in attrs.items()}
        return [
            node
            for node in self
            if (not tag or node.tag == tag)
            and all(
                (name in node.attrs) == value if isinstance(value, bool) else node.attrs.get(name) == value
                for name, value in wanted.items()
            )
        ]

    def one(self, tag: str = "", **attrs: str | bool) -> Node:
        (found,) = self.find(tag, **attrs)
        return found

    def within(self, holds: Callable[[Node], bool]) -> bool:
        node: Node | None = self
        while node is not None:
            if holds(node):
                return True
            node = node.parent
        return False

    @property
    def disabled(self) -> bool:
        """Whether a browser neither lets it be used nor sends it."""
        return "disabled" in self.attrs or self.within(lambda node: node.tag == "fieldset" and "disabled" in node.attrs)

    @property
    def value(self) -> str:
        """What a control holds."""
        if self.tag == "textarea":
            # The first line end of a text area is dropped; a browser sends CR LF.
            return self.raw.removeprefix("\n")
        if self.tag == "select":
            options = self.find("option")
            chosen = [option for option in options if "selected" in option.attrs] or options[:1]
            return (chosen[0].attrs.get("value", chosen[0].raw) or "") if chosen else ""
        return self.attrs.get("value") or ""


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Node("#page")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs), self.at)
        self.at.children.append(node)
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.children.append(Node(tag, dict(attrs), self.at))

    def handle_endtag(self, tag: str) -> None:
        node: Node | None = self.at
        while node is not None and node.tag != tag:
            node = node.parent
        assert node is not None, f"</{tag}> closes nothing"
        # A closing tag that skips others would be a page that browsers mend, each in its own way.
        assert node is self.at, f"</{tag}> comes while <{self.at.tag}> is open"
        assert node.parent is not None
        self.at = node.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parse(text: str) -> Node:
    """The page. Fails where its tags are not closed in order."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert builder.at is builder.root, f"<{builder.at.tag}> is never closed"
    return builder.root


def sent_by(page: Node, button: Node) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, address and fields that a browser sends when this button is pressed."""
    assert not button.disabled, f"{button.text!r} is disabled"
    form = _form_of(page, button)
    assert form is not None, f"{button.text!r} belongs to no form"
    fields: list[tuple[str, str]] = []
    for node in page:
        if node.tag not in ("input", "textarea", "select", "button") or _form_of(page, node) is not form:
            continue
        name = node.attrs.get("name")
        if not name or node.disabled:
            continue
        if node.tag == "button" and node is not button:
            continue
        if node.attrs.get("type") in ("checkbox", "radio") and "checked" not in node.attrs:
            continue
        value = node.value
        if node.tag == "textarea":
            value = value.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        elif node.tag == "input":
            value = value.replace("\r", "").replace("\n", "") if node.attrs.get("type") != "hidden" else value
        fields.append((name, value))
    action = button.attrs.get("formaction") or form.attrs.get("action") or ""
    return (form.attrs.get("method") or "get").upper(), action, fields


def _form_of(page: Node, node: Node) -> Node | None:
    name = node.attrs.get("form")
    if name:
        return page.one("form", id=name)
    above: Node | None = node
    while above is not None and above.tag != "form":
        above = above.parent
    return above
