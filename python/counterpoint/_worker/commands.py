"""The command line of a new interpreter that shall be a zygote or a worker."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from . import kernel

__all__ = ["Command", "command", "importable"]

_PROGRAM = "import sys; sys.path[:] = {path}; from {module} import main; main({numbers})"


class Command(NamedTuple):
    """Arguments, and the descriptors that the program must inherit under their numbers.

    The caller closes `extra`, which was opened for the program alone.
    """

    arguments: list[str]
    fds: tuple[int, ...]
    extra: tuple[int, ...] = ()


class _Entry(NamedTuple):
    """Stands where multiprocessing expects a process object."""

    module: str
    numbers: tuple[int, ...]

    def _bootstrap(self, _parent: int) -> None:
        getattr(sys.modules[self.module], "main")(*self.numbers)  # noqa: B009

    def __reduce__(self) -> tuple[object, ...]:
        return _entry, tuple(self)


def _entry(module: str, numbers: tuple[int, ...]) -> _Entry:
    __import__(module)
    return _Entry(module, numbers)


def command(module: str, numbers: Sequence[int], path: Sequence[str]) -> Command:
    """An interpreter like this one that calls the module's `main` with these descriptors.

    Args:
        module: to be found by `path`.
        numbers: the descriptors.
        path: the interpreter's sys.path from its first line on, so that neither the working
            directory nor another version of this package comes in between.
    """
    if getattr(sys, "frozen", False):
        return _frozen(module, tuple(numbers))
    program = _PROGRAM.format(
        path=ascii(list(path)), module=module, numbers=", ".join(map(str, numbers))
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return Command([_executable(), *flags, "-c", program], tuple(numbers))


def importable(path: Sequence[object], directory: str) -> list[str]:
    """A sys.path that means the same in another working directory."""
    return [entry or directory for entry in path if isinstance(entry, str)]


def _executable() -> str:
    # What multiprocessing.set_executable() has set counts; nobody has without that module.
    spawn = sys.modules.get("multiprocessing.spawn")
    return os.fsdecode(getattr(spawn, "_python_exe", None) or sys.executable)


def _frozen(module: str, numbers: tuple[int, ...]) -> Command:
    """A frozen program has no `-c`: it goes on in its multiprocessing.freeze_support().

    That reads, as for any child of multiprocessing, preparation data and a process object.
    """
    fd = kernel.memfd_create("counterpoint-entry")
    os.write(fd, pickle.dumps({}) + pickle.dumps(_Entry(module, numbers)))
    os.lseek(fd, 0, os.SEEK_SET)
    arguments = [sys.executable, "--multiprocessing-fork", f"pipe_handle={fd}"]
    return Command(arguments, (*numbers, fd), (fd,))
