"""Writing: what is sent is what was there at the call, and a slow reader holds the writer up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from tests.loop_checks.arena import Arena, Made, Recorder, until

# More than the kernel takes, whose buffers are kept small.
BIG = 4 << 20
SMALL_BUFFERS = {"SO_RCVBUF": 8_192}
CHUNK = 64 << 10


def _connected(arena: Arena) -> tuple[Any, Recorder, socket.socket]:
    """A server, its protocol and a peer that reads little at a time."""
    made = Made(Recorder)
    server = arena.serve(made)
    peer = arena.peer(server, **SMALL_BUFFERS)
    arena.until(made.are_connected)
    own = made.last.transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    return server, made.last, peer


def _sent_after(arena: Arena, write: Callable[[Any, bytearray], None], size: int) -> bytes:
    """What the peer reads of a bytearray of x that `write` has written, and changed to y then."""
    server, protocol, peer = _connected(arena)

    async def write_and_change() -> None:
        data = bytearray(b"x" * size)
        write(protocol.transport, data)
        data[:] = b"y" * size

    arena.run(write_and_change())
    got = arena.read(peer, size)
    server.close()
    return got


def _is_unchanged(arena: Arena, write: Callable[[Any, bytearray], None]) -> None:
    for size in (100, CHUNK, BIG):
        got = _sent_after(arena, write, size)
        changed = got.count(b"y")
        assert len(got) == size
        assert changed == 0, f"{changed} of {size} bytes were sent as they became after write()"


def changed_bytearray(arena: Arena) -> None:
    """a bytearray that is changed after write() is sent as it was"""
    _is_unchanged(arena, lambda transport, data: transport.write(data))


def changed_view(arena: Arena) -> None:
    """so is a memoryview of a bytearray"""
    _is_unchanged(arena, lambda transport, data: transport.write(memoryview(data)))


def changed_lines(arena: Arena) -> None:
    """so are the bytearrays that writelines() was given"""

    def write(transport: Any, data: bytearray) -> None:
        view = memoryview(data)
        transport.writelines([view[: len(data) // 2], view[len(data) // 2 :]])

    _is_unchanged(arena, write)


def changed_while_queued(arena: Arena) -> None:
    """so is one that is written while others wait to be sent"""

    def write(transport: Any, data: bytearray) -> None:
        transport.write(bytes(data[: len(data) // 2]))
        transport.write(memoryview(data)[len(data) // 2 :])

    _is_unchanged(arena, write)


def resized_bytearray(arena: Arena) -> None:
    """a bytearray can be emptied right after write(): nothing holds on to its memory"""
    server, protocol, peer = _connected(arena)

    async def write_and_empty() -> None:
        data = bytearray(b"x" * BIG)
        protocol.transport.write(data)
        data.clear()

    arena.run(write_and_empty())
    assert arena.read(peer, BIG) == b"x" * BIG
    server.close()


class Pushing(Recorder):
    """Writes chunks for as long as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.most = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=CHUNK, low=CHUNK // 4)
        asyncio.get_running_loop().call_soon(self.push)

    def push(self) -> None:
        """Until the transport says stop, or it is all written."""
        while self.events[-1] != "pause_writing" and self.written < BIG:
            self.transport.write(b"x" * CHUNK)
            self.written += CHUNK
            self.most = max(self.most, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self.push()


def slow_reader(arena: Arena) -> None:
    """a peer that reads nothing stops the writer at its limit; when it reads, all arrives"""
    made = Made(Pushing)
    server = arena.serve(made)
    peer = arena.peer(server, **SMALL_BUFFERS)
    arena.until(lambda: made.all and "pause_writing" in made.last.events)
    protocol = made.last
    assert protocol.written < BIG, "the kernel took it all"
    got = len(arena.read(peer, BIG))
    assert got == protocol.written == BIG
    arena.until(lambda: protocol.transport.get_write_buffer_size() == 0)
    assert protocol.most <= 2 * CHUNK, f"{protocol.most} bytes were held for a limit of {CHUNK}"
    pauses = protocol.events.count("pause_writing")
    assert protocol.events.count("resume_writing") == pauses, protocol.events
    server.close()


def slow_reader_drain(arena: Arena) -> None:
    """drain() of a stream waits for a peer that reads nothing, and goes on when it reads"""
    drained = 0

    async def push(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal drained
        for _ in range(BIG // CHUNK):
            writer.write(b"x" * CHUNK)
            await writer.drain()
            drained += CHUNK
        writer.close()

    async def start() -> asyncio.AbstractServer:
        return await asyncio.start_server(push, "127.0.0.1", 0)

    server = arena.run(start())
    peer = arena.peer(server, **SMALL_BUFFERS)
    arena.until(lambda: drained)
    arena.run(_settled(lambda: drained))
    assert drained < BIG, "drain() never waited"
    assert len(arena.read(peer, BIG)) == BIG
    server.close()


def slow_stream(arena: Arena) -> None:
    """a stream that nobody reads from stops its peer: what it holds has a limit"""
    writers = []

    async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async def start() -> asyncio.AbstractServer:
        return await asyncio.start_server(keep, "127.0.0.1", 0)

    server = arena.run(start())
    peer = arena.peer(server)
    peer.setblocking(False)
    sent = 0

    def push() -> int:
        nonlocal sent
        try:
            while sent < 16 * BIG:
                sent += peer.send(b"x" * CHUNK)
        except BlockingIOError:
            pass
        return sent

    arena.until(lambda: writers)
    arena.run(_settled(push))
    # The kernel's own buffers hold some megabytes of that.
    assert sent < 16 * BIG, "the stream took everything"
    writers[0].transport.abort()
    server.close()


async def _settled(measure: Callable[[], int]) -> None:
    """Returns when the value stays the same over many turns."""
    last, same = -1, 0
    while same < 50:
        value = measure()
        same = same + 1 if value == last else 0
        last = value
        await asyncio.sleep(0.001)


def written_before_close(arena: Arena) -> None:
    """what was written before close() arrives, and then the end"""
    server, protocol, peer = _connected(arena)

    async def write() -> None:
        protocol.transport.write(b"x" * BIG)
        protocol.transport.close()

    arena.run(write())
    assert arena.read(peer, BIG + 1) == b"x" * BIG
    arena.run(until(lambda: protocol.lost))
    assert protocol.lost == [None]
    server.close()


ALL = {
    "write_changed_bytearray": changed_bytearray,
    "write_changed_view": changed_view,
    "write_changed_lines": changed_lines,
    "write_changed_while_queued": changed_while_queued,
    "write_resized_bytearray": resized_bytearray,
    "write_slow_reader": slow_reader,
    "write_slow_reader_drain": slow_reader_drain,
    "write_slow_stream": slow_stream,
    "write_before_close": written_before_close,
}
