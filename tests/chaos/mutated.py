"""Start a process of ours with one guard taken out: `python -m tests.chaos.mutated MUTANT MODULE [ARGUMENT…]`.

The module that the mutant names is compiled from a source in which one piece is another. The piece has to be there
exactly once: a mutant of code that has moved on would prove nothing. What this process forks has it too.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from tests.chaos.guards import MUTANTS, Mutant


class MutatingLoader(importlib.machinery.SourceFileLoader):
    """Compiles the changed source, and never takes or leaves a compiled file."""

    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        return compile(self._mutant.applied(source), path, "exec", dont_inherit=True)


class MutatingFinder:
    """Finds the one module, before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert found is not None
        assert found.origin is not None
        found.loader = MutatingLoader(fullname, found.origin, self._mutant)
        return found


def main() -> None:
    name, module, *arguments = sys.argv[1:]
    mutant = MUTANTS[name]
    assert mutant.module not in sys.modules, f"{mutant.module} is imported already"
    sys.meta_path.insert(0, MutatingFinder(mutant))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
