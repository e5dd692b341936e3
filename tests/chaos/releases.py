"""The release before this one, out of the project's own history."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plant import ROOT, Watched

VERSIONS = "shared/signoff/store/migrations/versions"
PACKAGES = ("shared", "workers", "api")
TRIES = 8
"""Commits that are looked at for one that starts."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """An older state of the sources: its commit, what it is called, and where it is unpacked."""

    commit: str
    name: str
    folder: Path

    def instead(self, watched: Watched, *, name: str) -> Watched:
        """The same process of this release."""
        ready = {
            "PYTHONPATH": _path(self.folder),
            "SIGNOFF_READY_FILE": f"{watched.environment['SIGNOFF_READY_FILE']}.{name}",
        }
        return Watched(
            name=name,
            command=list(watched.command),
            environment=watched.environment | ready,
            output=watched.output.with_name(f"{name}.log"),
        )


def previous_release(folder: Path) -> Release | str:
    """The newest tag, or where there is none the last commit of another schema; in words why there is neither."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return "neither git nor the project's history is here"
    tag = _git("describe", "--tags", "--abbrev=0", "HEAD")
    if tag:
        commit, name = _git("rev-parse", f"{tag}^{{commit}}"), tag
    else:
        commit = _before_the_newest_migration()
        name = commit[:10]
    for back in range(TRIES):
        if not commit:
            break
        unpacked = _unpacked(commit, folder)
        if _starts(unpacked):
            return Release(commit=commit, name=name, folder=unpacked)
        # Between two releases a change may have come in pieces, and what can't be imported is none.
        commit = _git("rev-parse", f"{commit}~{2**back}")
        name = commit[:10]
    return "the history has no release before this one that starts"


def _unpacked(commit: str, folder: Path) -> Path:
    packed, unpacked = folder / f"{commit[:10]}.tar", folder / f"release-{commit[:10]}"
    with packed.open("wb") as output:
        subprocess.run(["git", "archive", commit, *PACKAGES], cwd=ROOT, stdout=output, check=True)
    with tarfile.open(packed) as archive:
        archive.extractall(unpacked, filter="data")
    packed.unlink()
    return unpacked


def _starts(unpacked: Path) -> bool:
    environment = os.environ | {"PYTHONPATH": _path(unpacked)}
    code = "import signoff_workers.worker, signoff_workers.runner, signoff_workers.tasks"
    return (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode == 0
    )


def _path(unpacked: Path) -> str:
    return os.pathsep.join([*(str(unpacked / package) for package in PACKAGES), str(ROOT)])


def _before_the_newest_migration() -> str:
    """The commit before that which brought the newest migration that has been committed; empty when there is none."""
    for path in sorted((ROOT / VERSIONS).glob("[0-9]*.py"), reverse=True):
        added = _git("log", "-n1", "--diff-filter=A", "--format=%H", "--", f"{VERSIONS}/{path.name}")
        if added:
            return _git("rev-parse", f"{added}^")
    return ""


def _git(*arguments: str) -> str:
    """What git says; empty when it refuses."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
