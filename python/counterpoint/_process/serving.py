"""What a worker runs: its initializer, then its tasks."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures._base import LOGGER
from typing import Any, NamedTuple

from counterpoint._core import Server

from . import sharing

__all__ = ["Config", "serve"]


class Config(NamedTuple):
    """What an executor tells each of its workers."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]


def serve(
    lane: int, event: int, arguments: int, results: int, sideband: int, config: bytes
) -> int:
    """Run tasks until the parent says that there are no more; the exit status."""
    server = Server(lane, event, arguments, results, sideband)
    sharing.receive_from(server)
    try:
        told = Config(*pickle.loads(config))
        if told.initializer is not None:
            told.initializer(*told.initargs)
    except BaseException as error:
        LOGGER.critical("Exception in initializer:", exc_info=True)
        server.unfit(error)
        return 1
    server.run()
    return 0
