"""Receiving while there is no memory: nothing is lost without a word."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import AbstractEventLoop
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.sockets import run

memory: Any = pytest.importorskip("_testcapi", reason="an interpreter without its tests")

# Too large for the interpreter's own small blocks.
FIRST, SECOND = b"a" * 600, b"b" * 600
TRIES = 30


class Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.got = b""
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


async def without_memory(peer: socket.socket, failing: int) -> None:
    """Sends, and has that allocation fail after it; then sends again."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def send() -> None:
        peer.send(FIRST)
        memory.set_nomemory(failing, failing + 1)

    def end() -> None:
        memory.remove_mem_hooks()
        done.set()

    loop.call_soon(send)
    loop.call_later(0.003, end)
    try:
        await done.wait()
    finally:
        memory.remove_mem_hooks()
    with contextlib.suppress(OSError):  # the connection may be closed
        peer.send(SECOND)


@pytest.mark.parametrize("failing", range(TRIES))
def test_a_connection_with_a_gap_is_closed(loop: AbstractEventLoop, failing: int) -> None:
    loop.set_exception_handler(lambda *_: None)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Protocol, sock=ours)
        await without_memory(theirs, failing)
        await eventually_async(lambda: protocol.is_lost or protocol.got.endswith(SECOND))
        assert protocol.is_lost or protocol.got == FIRST + SECOND
        transport.abort()
        theirs.close()

    run(loop, main())


@pytest.mark.parametrize("failing", range(TRIES))
def test_a_stream_with_a_gap_is_closed(loop: AbstractEventLoop, failing: int) -> None:
    loop.set_exception_handler(lambda *_: None)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        got = b""

        async def read() -> None:
            nonlocal got
            while data := await reader.read(1_000):
                got += data

        task = loop.create_task(read())
        await without_memory(theirs, failing)
        # The task itself may fail to go on, with all that came before: nobody waits then.
        inside: Any = reader
        await eventually_async(
            lambda: task.done() or got.endswith(SECOND) or inside._waiter is None
        )
        assert task.done() or not got.startswith(SECOND)
        writer.close()
        theirs.close()
        task.cancel()
        await asyncio.wait([task])

    run(loop, main())
