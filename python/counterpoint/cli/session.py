"""The run itself, in the program's process: before its first line and after its last."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Set
from importlib.machinery import PathFinder
from time import perf_counter
from typing import NamedTuple

from counterpoint import _install
from counterpoint._observe import registry
from counterpoint.cli import GROUPS

__all__ = ["Session", "begin"]


class Session(NamedTuple):
    """What is remembered from the start for the summary at the end."""

    program: str
    form: str
    file: str | None
    pid: int
    path: tuple[str, ...]
    started: float

    def finish(self) -> None:
        """Print the summary; nothing that goes wrong here is the program's business."""
        if self.form == "off" or os.getpid() != self.pid:
            return
        wall = perf_counter() - self.started
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
        registry.disable()
        path = list(sys.path)
        # The program's directory may hold a json.py or a rich.py that is not what the summary
        # needs.
        sys.path[:] = self.path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._print(wall)
        except Exception as problem:
            _say(f"counterpoint: no summary: {type(problem).__name__}: {problem}\n")
        finally:
            sys.path[:] = path
            if interrupted:
                _leave_as_interrupted()

    def _print(self, wall: float) -> None:
        from counterpoint.cli import summary

        report = summary.Report(self.program, wall, registry.snapshot(), registry.cost())
        if self.file is None:
            _say(summary.render(report, self.form, sys.__stderr__))
        else:
            # Names of files may be no UTF-8.
            with open(self.file, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(summary.render(report, self.form, file))


def begin(settings: Mapping[str, str], loaded: Set[str]) -> Session:
    """Install our classes and start to observe.

    Args:
        settings: what `run.environment` wrote, without the prefix.
        loaded: the modules that plain Python would have loaded by now.
    """
    groups = settings["GROUPS"].split()
    command = sys.orig_argv[1 + int(settings["FLAGS"]) :]
    _install.install(**{group: group in groups for group in GROUPS})
    session = Session(
        program=" ".join(command),
        form=settings["SUMMARY"],
        file=settings.get("FILE"),
        pid=os.getpid(),
        path=tuple(sys.path),
        started=perf_counter(),
    )
    if session.form != "off":
        registry.enable()
    _forget_shadowed(_directory(command[0]), loaded)
    return session


def _directory(target: str) -> str:
    """What the program will find as sys.path[0]."""
    if target.startswith("-"):
        return os.getcwd()
    real = os.path.realpath(target)
    return real if os.path.isdir(real) else os.path.dirname(real)


def _forget_shadowed(directory: str, loaded: Set[str]) -> None:
    """Let the program's own modules come before stdlib modules that only we needed until now.

    A program beside a file `queue.py` gets that file from `import queue` under plain Python.
    """
    if sys.flags.safe_path:
        return
    needed = {name.partition(".")[0] for name in set(sys.modules) - loaded} - {"counterpoint"}
    shadowed = {top for top in needed if _holds(directory, top)}
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0] in shadowed:
            del sys.modules[name]


def _holds(directory: str, module: str) -> bool:
    spec = PathFinder.find_spec(module, [directory])
    return spec is not None and spec.origin is not None  # None: a plain directory of that name


def _leave_as_interrupted() -> None:
    """Make sure that the process still ends by SIGINT.

    After an unhandled KeyboardInterrupt Python kills itself by SIGINT at its very end, so that a
    shell sees it. It forgets to if code in a string was executed meanwhile, which named tuples and
    data classes do when they are defined, and remembers when such code ends in a KeyboardInterrupt.
    """
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        pass


def _say(text: str) -> None:
    stream = sys.__stderr__
    try:
        if stream is not None and not stream.closed:
            stream.write(text)
            stream.flush()
    except OSError:
        pass  # nobody listens any more
