"""The worker, from its fork to its exit: a child of multiprocessing's kind.

What a task can see is what it would see in a child that multiprocessing started:
`multiprocessing.current_process()` and `parent_process()`, the program's `__main__` under the name
`__mp_main__`, sys.path, sys.argv, the working directory. What differs: it leads a process group of
its own, so that Ctrl-C at the terminal is its parent's business and that what it started can be
killed with it; it ignores SIGINT; the environment is that of its parent when it was launched; it
dies with its parent.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib
import os
import runpy
import select
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import process, resource_tracker, spawn, util
from typing import Any, NoReturn, TypeAlias

from . import commands, kernel
from .wire import Start, seal, unseal

__all__ = [
    "become_leader",
    "complain",
    "die_with",
    "enter",
    "enter_forked",
    "execute",
    "main",
    "no_input",
    "open_start",
    "rehearse",
    "use_stdio",
]


Take: TypeAlias = Callable[[], tuple[Start, Sequence[int]]]


class WorkerProcess(process.BaseProcess):
    """What `multiprocessing.current_process()` is in a worker."""

    _start_method = None
    # Until it is known.
    _parent_name = ""
    _parent_pid = 0

    def __init__(self, take: Take, inherited: bool) -> None:
        super().__init__()
        self._take = take
        self._inherited = inherited

    def run(self) -> None:
        """Prepares, serves, and exits with the status that the target returns."""
        start, fds = self._take()
        self._name = start.name
        parent: Any = process.parent_process()
        parent._name, parent._pid = start.parent_name, start.parent_pid
        if not self._inherited:
            _adopt(start)
        if start.tracker:
            *fds, tracker = fds
            resource_tracker._resource_tracker._fd = tracker  # type: ignore[attr-defined]
        if start.early is not None:
            _find(start.early)(*fds, start.config)
        if start.preparation is not None:
            self._prepare(start.preparation)
        sys.exit(_find(start.target)(*fds, start.config))

    def _prepare(self, preparation: dict[str, object]) -> None:
        # As in a child of multiprocessing: a program that starts processes while it is imported
        # is told of the missing `if __name__ == "__main__"`, instead of starting them for ever.
        self._inheriting = True
        try:
            spawn.prepare(preparation)
        finally:
            del self._inheriting


def _find(place: str) -> Callable[..., int | None]:
    module, _, name = place.partition(":")
    function: Callable[..., int | None] = getattr(importlib.import_module(module), name)
    return function


def main(payload: int, parent: int, *fds: int) -> NoReturn:
    """A worker that is a new interpreter."""
    for fd in (payload, parent, *fds):
        os.set_inheritable(fd, False)
    enter(lambda: (open_start(payload), fds), parent)


def open_start(payload: int) -> Start:
    """What the parent sent; closes the descriptor."""
    start: Start = unseal(payload)
    os.close(payload)
    return start


def rehearse() -> None:
    """Do, with nothing, what a new worker does: the memory for that is its own afterwards.

    A fork shares its memory until it writes there, and each first write to a page costs a fault.
    """
    payload = seal((dict(os.environ), sys.path))
    unseal(payload)
    os.close(payload)
    os.environ.update(os.environ)
    runpy.run_path(os.devnull, run_name="__rehearsal__")


def enter(take: Take, parent: int, inherited: bool = False) -> NoReturn:
    """Be a worker, and exit as multiprocessing's children do.

    Args:
        take: called once; what the parent sent, and the target's descriptors, with the resource
            tracker's if it says so.
        parent: a pidfd of the parent.
        inherited: whether this is a fork of the parent, whose exit handlers are not ours to run.
    """
    status = 1
    try:
        if inherited:
            atexit._clear()
            atexit.register(util._exit_function)  # type: ignore[attr-defined]
        _reset_signals()
        status = WorkerProcess(take, inherited)._bootstrap(parent)  # type: ignore[attr-defined]
    except BaseException:
        complain()
    finally:
        try:
            atexit._run_exitfuncs()
        finally:
            util._flush_std_streams()  # type: ignore[attr-defined]
            os._exit(status & 0xFF)


def enter_forked(start: Start, fds: Sequence[int], parent: int, life: int) -> NoReturn:
    """Be a worker that is a fork of its parent; see `enter` and `die_when_closed`."""
    try:
        become_leader()
        die_when_closed(life)
        no_input()
        enter(lambda: (start, fds), parent, inherited=True)
    except BaseException:
        complain()
    finally:
        os._exit(1)


def complain() -> None:
    """Print the exception. Not by `traceback`, whose import would delay every start."""
    sys.excepthook(*sys.exc_info())
    if sys.stderr is not None:
        sys.stderr.flush()


def _adopt(start: Start) -> None:
    # Compared first, because every change is a putenv().
    if os.environ != start.environment:
        os.environ.clear()
        os.environ.update(start.environment)
    # Directories that were missing when the zygote looked for modules may be there by now.
    for path in [path for path, finder in sys.path_importer_cache.items() if finder is None]:
        del sys.path_importer_cache[path]


def _reset_signals() -> None:
    """Signals as a new interpreter has them, whatever the thread that launched us had."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ignored, which even a new program inherits, it would hide how a task's own children ended.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def execute(payload: int, parent: int, fds: Sequence[int]) -> NoReturn:
    """Become a new interpreter that goes on in `main`."""
    start: Start = unseal(payload)
    preparation = start.preparation or {}
    directory = preparation.get("dir")
    if directory is not None:
        os.chdir(directory)
    path = commands.importable(preparation["sys_path"], directory or os.sep)
    command = commands.command(f"{__package__}.boot", (payload, parent, *fds), path)
    for fd in command.fds:
        os.set_inheritable(fd, True)
    os.execve(command.arguments[0], command.arguments, start.environment)


def die_with(zygote: int) -> None:
    """Make the kernel kill this process when the zygote ends, which may have happened."""
    kernel.die_with_parent()
    if os.getppid() != zygote:
        os._exit(1)


def become_leader() -> None:
    """Lead a process group of its own."""
    os.setpgid(0, 0)


def use_stdio(stdout: int, stderr: int) -> None:
    """Have the parent's output and no input."""
    no_input()
    for fd, number in ((stdout, 1), (stderr, 2)):
        os.dup2(fd, number)
        os.close(fd)
    # The stream was made when it led elsewhere.
    if sys.stdout is not None and os.isatty(1):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def no_input() -> None:
    """Make standard input empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)


def die_when_closed(life: int) -> None:
    """Make the kernel kill this process when nobody can write to the pipe any more.

    For a worker whose parent is the user's process: there the death of the thread that forked it
    would be taken for the death of the process.
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(life, 0)
    if poll.poll(0):  # it was closed before the kernel knew
        os._exit(1)
