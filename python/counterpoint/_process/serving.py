"""What a worker runs: its initializer, then its tasks."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from concurrent.futures._base import LOGGER
from typing import Any, NamedTuple

from counterpoint._core import Server

from . import sharing
from .telling import Levels, forward_logs

__all__ = ["Config", "Setup", "begin", "serve"]


class Config(NamedTuple):
    """What an executor tells each of its workers; as a pickle, since it may need `__main__`."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]


class Setup(NamedTuple):
    """What a worker needs before anything of the user's; as a plain tuple."""

    # None: its log records are its own business.
    levels: Levels | None
    config: bytes


_server: Server | None = None


def begin(
    lane: int, event: int, arguments: int, results: int, sideband: int, *streams_and_setup: Any
) -> None:
    """Be connected with the parent, before the program's main module is imported."""
    global _server
    *streams, setup = streams_and_setup
    for stream, fd in enumerate(streams, 1):
        _redirect(stream, fd)
    _server = Server(lane, event, arguments, results, sideband)
    sharing.receive_from(_server)
    levels = Setup(*pickle.loads(setup)).levels
    if levels is not None:
        forward_logs(_server, levels)


def serve(*fds_and_setup: Any) -> int:
    """Run tasks until the parent says that there are no more; the exit status."""
    assert _server is not None
    try:
        config = Config(*pickle.loads(Setup(*pickle.loads(fds_and_setup[-1])).config))
        if config.initializer is not None:
            config.initializer(*config.initargs)
    except BaseException as error:
        LOGGER.critical("Exception in initializer:", exc_info=True)
        _server.unfit(error)
        return 1
    _server.run()
    return 0


def _redirect(stream: int, fd: int) -> None:
    os.dup2(fd, stream)
    os.close(fd)
    python = sys.stdout if stream == 1 else sys.stderr
    if python is not None:
        # It may have been made for a file.
        python.reconfigure(line_buffering=True)  # type: ignore[union-attr]
