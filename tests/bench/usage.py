"""What processes use, from /proc: CPU seconds, memory of their own, bytes on disk.

Everything a measurement starts is a descendant of this process, so the tree below it is all there is to count.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME = 1, 11, 12, 13, 14
"""Fields of /proc/PID/stat, counted from the one behind the command's closing bracket."""


def cpu_seconds(root: int | None = None) -> float:
    """User and system time of a process (default: this one), its descendants, and those of them that have ended.

    Only differences mean something. Two of these within some hundredths of a second are the same: the kernel counts
    ticks.
    """
    ticks = 0
    for pid in _tree(os.getpid() if root is None else root):
        fields = _stat(pid)
        if fields is not None:
            ticks += sum(int(fields[index]) for index in (_UTIME, _STIME, _CUTIME, _CSTIME))
    return ticks / _TICK


def own_memory(root: int | None = None) -> int:
    """Bytes of anonymous memory of a process and its descendants, what they share counted once.

    Neither files nor PostgreSQL's shared buffers are in it: those hold what was read last, not what is parked.
    """
    return sum(_anonymous(pid) for pid in _tree(os.getpid() if root is None else root))


def own_memory_alone() -> int:
    """The same of this process without its descendants: for a client that keeps lists of what it has done."""
    return _anonymous(os.getpid())


def disk_bytes(*places: Path) -> int:
    """What files and folders take on disk, holes left out."""
    files = (file for place in places for file in ([place] if place.is_file() else place.rglob("*")))
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.lstat().st_blocks * 512
    return total


def _tree(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))) is not None:
            children.setdefault(int(fields[_PPID]), []).append(int(entry))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting.extend(children.get(pid, ()))


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None


def _anonymous(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    return 0
