"""Where `signoff dev` keeps things: the `.signoff/` folder, and sockets whose path is short enough."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from signoff.errors import ConfigurationError

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel takes 107 on Linux and 103 on macOS, and says so only by failing."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432")


def prepare_home(home: Path) -> Path:
    """Create the folder for us alone, ignored by git, and return its absolute path.

    Raises ConfigurationError when it can't be made or belongs to somebody else.
    """
    home = home.absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.stat().st_uid != os.geteuid():
            raise ConfigurationError(f"{home} belongs to another user", fix="set SIGNOFF_HOME to a folder of your own")
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ConfigurationError(f"{home} can't be used: {error}", fix="set SIGNOFF_HOME to another folder") from error
    return home


def socket_directory(home: Path) -> Path:
    """A 0700 directory for sockets, the same for each start.

    It is `run/` in the home where that path is short and plain enough for a socket and for a URL; else a
    directory under the system's temporary one, whose name is kept in the home.
    """
    inside = home / "run"
    if _fits(inside):
        inside.mkdir(mode=0o700, exist_ok=True)
        inside.chmod(0o700)
        return inside
    note = home / "socket-directory"
    if note.exists():
        known = Path(note.read_text().strip())
        if known.is_dir() and _is_ours_alone(known):
            return known
    made = _short_directory()
    write_private(note, f"{made}\n")
    return made


def _fits(directory: Path) -> bool:
    path = str(directory)
    return len(os.fsencode(path)) + _LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH and bool(_PLAIN_PATH.fullmatch(path))


def _short_directory() -> Path:
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes the name, mode 0700
        if parent.is_dir() and _fits(parent / "signoff-xxxxxxxx"):
            return Path(tempfile.mkdtemp(prefix="signoff-", dir=parent))
    raise ConfigurationError("no directory has a path short enough for a socket", fix="set TMPDIR to a short path")


def _is_ours_alone(directory: Path) -> bool:
    found = directory.lstat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077 and not directory.is_symlink()


KEYS_FILE = "development-keys.json"


def read_keys(home: Path) -> dict[str, str]:
    """The API keys that are kept in the home, by the name of the development identity; none where none can be
    read.
    """
    try:
        kept = json.loads((home / KEYS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return {name: key for name, key in kept.items() if isinstance(key, str)} if isinstance(kept, dict) else {}


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once by `text`, readable by its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
