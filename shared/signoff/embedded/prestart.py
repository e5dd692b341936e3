"""Lets a Python child import what it needs while the database is still coming up, and begin when it is told
to.

`python -m signoff.embedded.prestart IMPORT[,IMPORT…] MODULE [ARGUMENT…]` imports, waits for one byte on its
input, and then is `python -m MODULE ARGUMENT…`. At the end of its input it ends: whoever held the other end
is gone.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module

_GO = b"\n"


class StartGate:
    """Holds children back until `release`; those started afterwards begin at once."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._released = False

    def start(self, launch: Callable[[int], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """What `launch` starts, given the file descriptor to be its input."""
        reading, writing = os.pipe()
        try:
            process = launch(reading)
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._held.append(writing)
        if self._released:
            self.release()
        return process

    def release(self) -> None:
        """Let every child begin."""
        self._released = True
        while self._held:
            writing = self._held.pop()
            with suppress(BrokenPipeError):  # that one has ended already, and will be started again
                os.write(writing, _GO)
            os.close(writing)


def prestarted(imports: Sequence[str], module: str, *arguments: str) -> list[str]:
    """The command of a child that a `StartGate` holds."""
    return [sys.executable, "-m", "signoff.embedded.prestart", ",".join(imports), module, *arguments]


def main(arguments: Sequence[str]) -> None:
    """Import, wait, and become the module."""
    imports, module, *rest = arguments
    for name in filter(None, imports.split(",")):
        import_module(name)
    if os.read(0, 1) != _GO:
        return
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.argv = [module, *rest]
    sys.modules.pop(f"{module}.__main__", None)  # it was imported for what it imports
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
