"""Start a run of `loan` for each application in a file, or count what the scorecard would do with them.

    python examples/loan_batch.py FILE --dry-run
    python examples/loan_batch.py FILE --limit 20

FILE has the format of the Statlog German Credit data: one application a line, 20 attributes and the outcome
(1 paid back, 2 did not), separated by spaces. The outcome is only counted; no run sees it. Without --api and --key
the address and the key come from the `.signoff/dev.json` that `make dev` writes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from loan import PASSES_AT, Application, assess

COLUMNS = 21
MAX_BYTES = 16 * 1024 * 1024
MAX_FAULTS = 10
TIMEOUT_SECONDS = 30

FIELDS = {
    "checking": 0,
    "duration_months": 1,
    "history": 2,
    "purpose": 3,
    "amount": 4,
    "savings": 5,
    "employment": 6,
    "other_plans": 13,
}
"""Where each field stands in a line. What is not named here is not read: see `loan` for why."""


class BadFile(Exception):
    """The file can't be used; the message says where and why."""


class Refused(Exception):
    """The API refused or can't be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: the application, and whether the loan was paid back."""

    application: Application
    outcome: Literal["good", "bad"]


def read_rows(path: Path, limit: int | None = None) -> list[Row]:
    """The applications of a file, at most `limit`. Raises BadFile with the bad lines, before any line is used."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadFile(f"{path} is larger than {MAX_BYTES // 1024**2} MiB; split it")
        lines = path.read_text("ascii").splitlines()
    except OSError as error:
        raise BadFile(f"can't read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not plain ASCII text (byte {error.start})") from error
    rows: list[Row] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if limit is not None and len(rows) >= limit:
            break
        try:
            rows.append(parse_row(line, f"{path.stem[:48]}-{number}"))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise BadFile("\n".join([f"{path} is not in the Statlog German Credit format:", *faults]))
    if not rows:
        raise BadFile(f"{path} has no applications")
    return rows


def parse_row(line: str, application_id: str) -> Row:
    """One line as an application. Raises ValueError that names the attribute."""
    columns = line.split()
    if len(columns) != COLUMNS:
        raise ValueError(f"{len(columns)} columns instead of {COLUMNS} (20 attributes and the outcome)")
    outcome = columns[-1]
    if outcome not in ("1", "2"):
        raise ValueError(f"the outcome is {outcome[:20]!r} instead of 1 or 2")
    values: dict[str, Any] = {name: columns[at] for name, at in FIELDS.items()}
    try:
        application = Application(application_id=application_id, **values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])
        at = f"attribute {FIELDS[name] + 1} ({name})" if name in FIELDS else name
        raise ValueError(f"{at} is {str(first['input'])[:20]!r}: {first['msg']}") from None
    return Row(application=application, outcome="good" if outcome == "1" else "bad")


def summary(rows: Sequence[Row]) -> str:
    """How many pass by policy, and how the loans on both sides turned out."""
    scores = [(assess(row.application).score, row.outcome) for row in rows]
    above = [outcome for score, outcome in scores if score >= PASSES_AT]
    below = [outcome for score, outcome in scores if score < PASSES_AT]
    lines = [f"{len(rows)} applications"]
    for what, side in ((f"pass by policy ({PASSES_AT} points or more)", above), ("wait for an underwriter", below)):
        bad = side.count("bad")
        rate = f"{bad / len(side):.1%}" if side else "-"
        lines.append(f"{len(side):>6} ({len(side) / len(rows):.1%}) {what}: {bad} not paid back ({rate})")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Where runs are started, and with whose key."""

    url: str
    key: str

    def start(self, application: Application, label: str) -> str:
        """Start a run and answer its id. Starting the same application of the same file again gives the same run.

        Raises Refused with what the API said.
        """
        run_input = application.model_dump(mode="json")
        body = json.dumps({"workflow": "loan", "input": run_input, "labels": {"file": label}}).encode()
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "Idempotency-Key": hashlib.sha256(body).hexdigest(),
        }
        request = urllib.request.Request(f"{self.url}/api/v1/runs", data=body, headers=headers)  # noqa: S310  # find_api takes http only
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                started: str = json.load(answer)["id"]
                return started
        except urllib.error.HTTPError as error:
            raise Refused(f"{self.url} answered {error.code}: {_problem(error.read(100_000))}") from error
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"{self.url} can't be used: {error}") from error


def _problem(body: bytes) -> str:
    try:
        found = json.loads(body)
        return " ".join(str(found[key]) for key in ("detail", "fix") if found.get(key))
    except (ValueError, TypeError, AttributeError):
        return body[:200].decode(errors="replace")


def find_api(url: str | None, key: str | None) -> Api:
    """The API that the arguments name, or that `signoff dev` runs here. Raises Refused with what is missing."""
    home = Path(os.environ.get("SIGNOFF_HOME", ".signoff"))
    stored: dict[str, Any] = {}
    if (url is None or key is None) and (home / "dev.json").is_file():
        stored = json.loads((home / "dev.json").read_text())
        # A key of one stack is never sent to the address of another.
        if url is not None and url.rstrip("/") != stored.get("api_url"):
            stored = {}
    url = url or stored.get("api_url")
    key = key or (stored.get("keys") or {}).get("requester")
    if url is None or key is None:
        raise Refused("pass --api and --key (or set SIGNOFF_API_URL and SIGNOFF_API_KEY), or start `make dev` here")
    if not url.startswith(("http://", "https://")):
        raise Refused(f"--api is {url!r}; write it like http://127.0.0.1:8400")
    return Api(url=url.rstrip("/"), key=key)


def start_all(rows: Sequence[Row], api: Api, label: str, console: Console) -> int:
    """Start a run for each application, one after the other, and answer how many. Raises Refused at the first no."""
    started = 0
    try:
        for row in track(rows, description="starting runs", console=console):
            api.start(row.application, label)
            started += 1
    except Refused as error:
        again = "; run the same command again, what was started is not started twice" if started else ""
        raise Refused(f"{error} ({started} of {len(rows)} were started{again})") from error
    return started


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Answers 0, 1 when the API refused, 2 when the file can't be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="applications in the Statlog German Credit format")
    parser.add_argument("--limit", type=_positive, help="take only the first N")
    parser.add_argument("--dry-run", action="store_true", help="count, and start nothing")
    api_url = os.environ.get("SIGNOFF_API_URL")
    parser.add_argument("--api", default=api_url, help="address of the API (or SIGNOFF_API_URL)")
    parser.add_argument("--key", default=os.environ.get("SIGNOFF_API_KEY"), help="API key (or SIGNOFF_API_KEY)")
    given = parser.parse_args(arguments)
    try:
        rows = read_rows(given.file, given.limit)
        print(summary(rows))
        if given.dry_run:
            return 0
        started = start_all(rows, find_api(given.api, given.key), given.file.name[:200], Console(stderr=True))
    except BadFile as error:
        print(error, file=sys.stderr)
        return 2
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    print(f"started {started} runs; `signoff inbox` shows those that wait, to a member of underwriters")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("write a number from 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
