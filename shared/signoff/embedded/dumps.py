"""A backup as one file, made and brought back by PostgreSQL's own `pg_dump` and `pg_restore`."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from signoff.embedded.postgres_programs import candidate_directories
from signoff.errors import ConfigurationError, Conflict, InvalidInput, Unavailable

_SECRET = 0o600
_SAID = 300
_TABLES = (
    "SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpPrograms:
    """`pg_dump` and `pg_restore` of one installation, and its major version."""

    directory: Path
    major: int

    @property
    def dump(self) -> Path:
        return self.directory / "pg_dump"

    @property
    def restore(self) -> Path:
        return self.directory / "pg_restore"


def back_up(database_url: str, file: Path) -> int:
    """Write all that is in the database, as of one moment, into a new file; answers its size in bytes.

    Nobody is kept waiting by it. The file can be read by its owner alone, and has its name once it is whole.

    Raises InvalidInput when the file is there or can't be written, ConfigurationError without a `pg_dump` for this
    server, Unavailable when the database goes away meanwhile.
    """
    if file.exists():
        raise InvalidInput(f"{file} is there already", fix="name another file: a backup is never written over")
    programs = find_dump_programs(_server_major(database_url))
    part = file.with_name(f".{file.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _SECRET), "wb") as output:
            # Who owns the tables and who may read them is the installation's, not the data's: `signoff db grants`.
            _run([programs.dump, "--format=custom", "--no-owner", "--no-privileges"], database_url, output)
            output.flush()
            os.fsync(output.fileno())
            size = output.tell()
        part.replace(file)
    except OSError as error:
        raise InvalidInput(f"can't write {file}: {error.strerror}", fix="name a file in a folder of yours") from error
    finally:
        part.unlink(missing_ok=True)
    return size


def restore(database_url: str, file: Path) -> None:
    """Bring a backup into a database in which nothing is, all of it or nothing.

    Raises InvalidInput when the file is no backup, Conflict when the database holds something, ConfigurationError and
    Unavailable as `back_up` does.
    """
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}")
    programs = find_dump_programs(_server_major(database_url))
    with _connected(database_url) as connection:
        row = connection.execute(_TABLES).fetchone()
    if row is None or row[0]:
        raise Conflict(
            "the database holds tables, and a backup is brought into an empty one only",
            fix="make another: createdb NAME, and let $SIGNOFF_DATABASE_URL name it",
        )
    name = psycopg.conninfo.make_conninfo(dbname=str(_parts(database_url).get("dbname", "")))
    command: list[str | Path] = [programs.restore, "--exit-on-error", "--single-transaction", "--no-owner"]
    _run([*command, "--no-privileges", f"--dbname={name}", file], database_url, None)


def find_dump_programs(server_major: int, *, directories: Iterable[Path] | None = None) -> DumpPrograms:
    """The oldest `pg_dump` that reads a server of this major version: what a newer one writes, it may not take back.

    Raises ConfigurationError when there is none, saying what was looked at.
    """
    found = list(_installed(candidate_directories() if directories is None else directories))
    fitting = [each for each in found if each.major >= server_major]
    if fitting:
        return min(fitting, key=lambda each: each.major)
    seen = ", ".join(f"{each.directory} (version {each.major})" for each in found) or "none"
    raise ConfigurationError(
        f"no pg_dump for PostgreSQL {server_major} was found; found: {seen}",
        fix=f"install the client programs of PostgreSQL {server_major}, such as postgresql-client-{server_major}",
    )


def _installed(directories: Iterable[Path]) -> Iterator[DumpPrograms]:
    for directory in directories:
        if not ((directory / "pg_dump").exists() and (directory / "pg_restore").exists()):
            continue
        try:
            said = subprocess.run(
                [directory / "pg_dump", "--version"], capture_output=True, text=True, timeout=20, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        version = re.search(r"\b(\d+)[.\d]*", said)
        if version:
            yield DumpPrograms(directory=directory, major=int(version[1]))


def _parts(database_url: str) -> dict[str, object]:
    return dict(psycopg.conninfo.conninfo_to_dict(database_url))


def _connected(database_url: str) -> psycopg.Connection[tuple[int]]:
    try:
        return psycopg.connect(database_url, connect_timeout=5)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise Unavailable(f"the database is not reachable: {reason}", fix="start it, or correct its address") from error


def _server_major(database_url: str) -> int:
    with _connected(database_url) as connection:
        return connection.info.server_version // 10_000


def _environment(database_url: str) -> Mapping[str, str]:
    """The address for libpq's programs. Not as an argument: everybody on the machine could read the password there."""
    names = {option.keyword.decode(): option.envvar for option in psycopg.pq.Conninfo.get_defaults()}
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for keyword, value in _parts(database_url).items():
        variable = names.get(keyword)
        if variable:
            own[variable.decode()] = str(value)
    return own


def _run(command: list[str | Path], database_url: str, output: IO[bytes] | None) -> None:
    done = subprocess.run(
        command,
        stdout=output or subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(database_url),
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[:_SAID]
        name = Path(command[0]).name
        if "not appear to be a valid archive" in said or "not a valid archive" in said or "input file" in said:
            raise InvalidInput(f"the file is no backup: {said}")
        raise Unavailable(f"{name} ended with {done.returncode}: {said}", fix="see what it says, and try again")
