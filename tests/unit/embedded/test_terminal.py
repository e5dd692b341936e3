"""What `signoff dev` shows."""

from __future__ import annotations

import io

from signoff.embedded.terminal import Terminal


def test_a_childs_line_comes_after_its_name_and_is_neither_wrapped_nor_read_as_markup() -> None:
    stream = io.StringIO()

    Terminal(stream).child_line("api", "[bold]GET[/bold] " + "x" * 300)

    assert stream.getvalue() == "api      │ [bold]GET[/bold] " + "x" * 300 + "\n"


def test_quiet_hides_the_children_and_not_the_sentences() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, quiet=True)

    terminal.child_line("api", "noise")
    terminal.say("ready")

    assert stream.getvalue() == "ready\n"


def test_a_closed_stream_ends_the_output_and_nothing_else() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    stream.close()

    terminal.say("nobody reads this")
    terminal.child_line("api", "nor this")
