"""Following a run: its log as it grows, until it has finished or waits for a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from signoff.cli.client import Client, path
from signoff.cli.output import Output
from signoff.cli.target import Target, who_could_decide
from signoff.cli.text import visible
from signoff.cli.timeline import Timeline
from signoff.cli.views import decide_commands, show_human_task
from signoff.errors import SignoffError, Unavailable

if TYPE_CHECKING:
    from rich.status import Status

T = TypeVar("T")

EXIT_DONE, EXIT_FAILED, EXIT_PARKED = 0, 1, 3
PATIENCE_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_LONGEST_PAUSE_PARKED = 2.0
_FINISHED = ("completed", "failed", "canceled")


class Follower:
    """Shows one run's events as they come. `through_gates` keeps on while a person is asked."""

    def __init__(self, client: Client, target: Target, output: Output, *, through_gates: bool) -> None:
        self._client = client
        self._target = target
        self._output = output
        self._through_gates = through_gates
        self._timeline = Timeline()
        self._seen = 0
        self._shown: set[tuple[str, int]] = set()
        self._has_answered = False
        self._status: Status | None = None

    def follow(self, run_id: str) -> int:
        """The exit code: 0 completed, 1 failed or canceled, 3 parked at a gate."""
        pause = _FIRST_PAUSE
        with self._progress():
            while True:
                # The run comes first: what its log says afterwards is at least as new, so nothing is missed at the end.
                run = self._patiently(lambda: self._client.get(path("runs", run_id)))
                news = self._patiently(lambda: self._show_news(run_id))
                self._has_answered = True
                self._say_where(run)
                parked = run["status"] == "waiting"
                if run["status"] in _FINISHED:
                    return self._finish(run, self._human_tasks(run, "after"))
                if parked and (news or not self._shown):
                    # One that is decided and in its grace waits for nobody.
                    tasks = [each for each in self._human_tasks(run, "before") if not each["release_at"]]
                    if tasks and not self._through_gates:
                        return self._park(run, tasks)
                    self._announce(tasks)
                pause = _FIRST_PAUSE if news else min(pause * 1.4, _LONGEST_PAUSE_PARKED if parked else _LONGEST_PAUSE)
                time.sleep(pause)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What `ask` answers. An API that is restarted in between ends nothing: the run does not depend on it."""
        given_up = None
        while True:
            try:
                return ask()
            except SignoffError as error:
                away = isinstance(error, Unavailable) or getattr(error, "status", 0) == HTTPStatus.SERVICE_UNAVAILABLE
                if not away or not self._has_answered or (given_up is not None and time.monotonic() > given_up):
                    raise
                if given_up is None:
                    given_up = time.monotonic() + PATIENCE_SECONDS
                    self._output.note(f"{error.detail}; asking again for {PATIENCE_SECONDS:.0f} s")
                time.sleep(_LONGEST_PAUSE)

    def _show_news(self, run_id: str) -> bool:
        found = False
        for event in self._client.events(run_id, after=self._seen):
            found = True
            self._seen = event["seq"]
            if self._output.as_json:
                self._output.json({"event": event}, indent=None)
            else:
                self._output.console.print(self._timeline.line(self._timeline.entry(event)), soft_wrap=True)
        return found

    def _human_tasks(self, run: Mapping[str, Any], mode: str) -> list[Mapping[str, Any]]:
        """The open human tasks of the run that hold it up (`before`), or that stay behind it (`after`)."""
        if not run["human_tasks"]:
            return []
        found, _ = self._client.items(path("human-tasks"), [("run", run["id"]), ("state", "open")], 100)
        return [each for each in found if each["mode"] == mode]

    def _finish(self, run: Mapping[str, Any], left: list[Mapping[str, Any]]) -> int:
        if self._output.as_json:
            self._output.json({"run": run, "human_tasks": left}, indent=None)
        else:
            self._announce(left)
        return EXIT_DONE if run["status"] == "completed" else EXIT_FAILED

    def _park(self, run: Mapping[str, Any], tasks: list[Mapping[str, Any]]) -> int:
        if self._output.as_json:
            self._output.json({"run": run, "human_tasks": tasks}, indent=None)
        else:
            self._announce(tasks)
        return EXIT_PARKED

    def _announce(self, tasks: list[Mapping[str, Any]]) -> None:
        """Show each human task once a revision, with the commands that decide it."""
        for each in tasks:
            shown = each["id"], each["revision"]
            if shown in self._shown:
                continue
            self._shown.add(shown)
            if self._output.as_json:
                continue
            self._output.line("")
            show_human_task(self._output, each, payload=False)
            self._output.line("")
            people = who_could_decide(self._target.identities, each) if self._target.identities else []
            for command in decide_commands(each, acting_as=people[0] if people else None):
                self._output.line(f"  {visible(command)}", style="bold")

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """A line at the bottom that says where the run is; only on a terminal."""
        if self._output.as_json or not self._output.console.is_terminal:
            yield
            return
        with self._output.console.status("") as status:
            self._status = status
            yield

    def _say_where(self, run: Mapping[str, Any]) -> None:
        if self._status is None:
            return
        node = visible(run["current_node"] or "")
        doing = {
            "queued": f"{node} is queued",
            "running": f"{node} is running",
            "retrying": f"{node} waits for its next attempt",
            "waiting": f"{node} waits for a person",
        }
        self._status.update(doing.get(run["status"], visible(run["status"])))
