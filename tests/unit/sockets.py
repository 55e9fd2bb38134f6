"""What the tests of operations on sockets share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from asyncio import AbstractEventLoop
from collections.abc import Coroutine, Iterator
from typing import Any

from tests.support import DEADLINE

Pair = tuple[socket.socket, socket.socket]

KINDS = ("inet", "unix")
FORKS = "ignore:.*multi-threaded.*fork:DeprecationWarning"
BIG = 8 << 20


def connected(kind: str) -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    both = _inet() if kind == "inet" else socket.socketpair()
    for each in both:
        each.setblocking(False)
    yield both
    for each in both:
        each.close()


def _inet() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


def run(loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The coroutine's result, within the deadline."""
    return loop.run_until_complete(asyncio.wait_for(coroutine, DEADLINE))


@contextlib.contextmanager
def children() -> Iterator[list[int]]:
    """Where a test notes whom it has forked; they are killed in the end."""
    forked: list[int] = []
    try:
        yield forked
    finally:
        for child in forked:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def is_watched(loop: AbstractEventLoop, sock: socket.socket) -> bool:
    """Whether the loop watches the socket for anybody."""
    inside: Any = loop
    return sock.fileno() in inside._selector.get_map()


async def waiting(loop: AbstractEventLoop, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task in which the call waits."""
    task = loop.create_task(call)
    await asyncio.sleep(0)
    assert not task.done()
    return task
