"""What a worker runs: its initializer, then its tasks."""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures._base import LOGGER
from multiprocessing import util
from typing import Any, NamedTuple

from counterpoint._core import Server

from . import handover, sharing
from .diagnosis import keep_dump, note_kills
from .telling import Levels, forward_logs, tell_modules
from .warming import new_modules, reseed

__all__ = ["Config", "Setup", "begin", "serve"]


# How long the queues of a worker that is to be killed may take.
_FLUSH = 1.0


class Config(NamedTuple):
    """What an executor tells each of its workers; pickled apart, since it may need `__main__`."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    finalizer: Callable[[], object] | None


class Setup(NamedTuple):
    """What a worker needs before anything of the user's; as a plain tuple."""

    # None: its log records are its own business.
    levels: Levels | None
    # The CPUs that it may use; None: as the parent.
    cpus: tuple[int, ...] | None
    # Whether it is a fork of a process that may be told what to import.
    warm: bool
    # How many of the last descriptors belong to the config.
    handed: int
    config: bytes


_server: Server | None = None
# For what is to be known after its end.
_dump = -1
# The modules that it began with, if anybody wants to know of others.
_known: set[str] | None = None


def begin(
    lane: int,
    event: int,
    arguments: int,
    results: int,
    sideband: int,
    *others_and_setup: Any,
) -> None:
    """Be connected with the parent, before the program's main module is imported."""
    global _server, _known, _dump
    *others, pickled = others_and_setup
    setup = Setup(*pickle.loads(pickled))
    *streams, _dump = others[: len(others) - setup.handed]
    keep_dump(_dump)
    faulthandler.enable(_dump)
    for stream, fd in enumerate(streams, 1):
        _redirect(stream, fd)
    _server = Server(lane, event, arguments, results, sideband)
    sharing.receive_from(_server)
    if setup.cpus is not None:
        os.sched_setaffinity(0, setup.cpus)
    if setup.warm:
        reseed()
        _known = set(sys.modules)
    if setup.levels is not None:
        forward_logs(_server, setup.levels)


def serve(*fds_and_setup: Any) -> int:
    """Run tasks until the parent says that there are no more; the exit status."""
    assert _server is not None
    try:
        *fds, pickled = fds_and_setup
        setup = Setup(*pickle.loads(pickled))
        config = Config(*handover.receive(setup.config, fds[len(fds) - setup.handed :]))
        if config.initializer is not None:
            config.initializer(*config.initargs)
    except BaseException as error:
        LOGGER.critical("Exception in initializer:", exc_info=True)
        _flush_queues()
        _server.unfit(error)
        return 1
    # Not before: the initializer may have gone to another control group.
    note_kills(_dump)
    _server.run()
    if config.finalizer is not None:
        _finalize(config.finalizer)
    return 0


def _flush_queues() -> None:
    """Have what was put into queues of multiprocessing sent: the parent kills who is unfit."""
    # By a thread of its own, since nobody may ever take it.
    thread = threading.Thread(target=util._run_finalizers, daemon=True)  # type: ignore[attr-defined]
    thread.start()
    thread.join(_FLUSH)


def _finalize(finalizer: Callable[[], object]) -> None:
    try:
        finalizer()
    except Exception:
        LOGGER.critical("Exception in finalizer:", exc_info=True)


def _rest() -> None:
    """Called by the loop, once: the worker has run a task, and has nothing to do."""
    modules = [] if _known is None or _server is None else new_modules(_known)
    if modules and _server is not None:
        tell_modules(_server, modules)


def _redirect(stream: int, fd: int) -> None:
    os.dup2(fd, stream)
    os.close(fd)
    python = sys.stdout if stream == 1 else sys.stderr
    if python is not None:
        # It may have been made for a file.
        python.reconfigure(line_buffering=True)  # type: ignore[union-attr]
