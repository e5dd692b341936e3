"""Small pictures, drawn by the server: each says by its shape what a word beside it says too."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

_PATHS: Mapping[str, str] = {
    "check": "M3.5 8.5l3 3 6-7",
    "cross": "M4 4l8 8M12 4l-8 8",
    "back": "M7 3.5L3 7.5l4 4M3.5 7.5H10a3 3 0 0 1 0 6H8",
    "clock": "M8 4.5V8l2.3 1.6M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8z",
    "alert": "M8 5.5v3.4M8 11.4v.1M7 2.4L1.7 12a1.2 1.2 0 0 0 1 1.8h10.6a1.2 1.2 0 0 0 1-1.8L9 2.4a1.2 1.2 0 0 0-2 0z",
    "eye": "M1.5 8S4 3.6 8 3.6 14.5 8 14.5 8 12 12.4 8 12.4 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
    "gate": "M8 1.8L14.2 8 8 14.2 1.8 8z",
    "dot": "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6z",
    "ring": "M8 3.4a4.6 4.6 0 1 0 0 9.2 4.6 4.6 0 0 0 0-9.2z",
    "pen": "M3 13l.6-2.8 7-7a1.2 1.2 0 0 1 1.7 0l.5.5a1.2 1.2 0 0 1 0 1.7l-7 7z",
    "left": "M10 3.5L5.5 8l4.5 4.5",
    "right": "M6 3.5L10.5 8 6 12.5",
    "search": "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.4 10.4L14 14",
    "person": "M8 8a2.8 2.8 0 1 0 0-5.6A2.8 2.8 0 0 0 8 8zM2.8 13.6c.5-2.6 2.6-4 5.2-4s4.7 1.4 5.2 4",
    "shield": "M8 1.8l5.2 1.9v4c0 3.2-2.1 5.4-5.2 6.5C4.9 13.1 2.8 10.9 2.8 7.700V3.700z",
    "skip": "M3 8h10",
    "list": "M5.5 4h8M5.5 8h8M5.5 12h8M2.500 4h.01M2.500 8h.01M2.500 12h.01",
    "copy": "M5.500 5.500h7v8h-7zM3.500 10.500v-8h7",
    "hourglass": "M4 2h8M4 14h8M5 2c0 3 6 3.500 6 6s-6 3-6 6M11 2c0 3-6 3.500-6 6s6 3 6 6",
}


def icon(name: str) -> Markup:
    """The picture of this name; a word stands beside it, so it is hidden from screen readers."""
    return Markup(
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">'
        '<path d="{}"/></svg>'
    ).format(_PATHS[name])
