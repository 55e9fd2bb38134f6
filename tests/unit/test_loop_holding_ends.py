"""What is held back is sent before whatever ends a connection, and by whose it is."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import weakref
from asyncio import AbstractEventLoop, selector_events
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import eventually_async, is_collected
from tests.unit.pieces import LEARNT, MOST, Recorder, Writer, each_kind, fill, writer
from tests.unit.sockets import FORKS, KINDS, children, run

kind = pytest.fixture(params=KINDS)(each_kind)


ENDS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "close, write": lambda transport: (transport.close(), transport.write(b"too late")),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_connection_is_ended_in_the_same_callback(
    loop: AbstractEventLoop, kind: str, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)

        def write() -> None:
            made.transport.write(b"the ")
            made.transport.write(b"last")
            ENDS[end](made.transport)
            assert made.arrived() == b"the last"

        await made.call(write)
        if end == "write_eof":
            made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert protocol.lost == [None]
        assert made.arrived() == b""

    run(loop, main())


def test_sendfile_follows_it(loop: AbstractEventLoop, kind: str, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"contents")

    async def main() -> None:
        made, _ = await writer(kind)
        tasks = []

        async def send() -> None:
            with open(path, "rb") as file:
                made.transport.write(b"head ")
                await loop.sendfile(made.transport, file)

        await made.call(lambda: tasks.append(loop.create_task(send())))
        await tasks[0]
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == b"head contents"

        await eventually_async(grown)
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", ["", "close", "write_eof", "abort"])
def test_a_peer_that_is_gone(loop: AbstractEventLoop, end: str) -> None:
    async def main() -> None:
        made, protocol = await writer("inet")
        made.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def write() -> None:
            made.transport.write(b"something")
            made.peer.close()
            if end:
                getattr(made.transport, end)()

        await made.call(write)
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert len(protocol.lost) == 1

    run(loop, main())


IN_CHILD: dict[str, tuple[Callable[[Writer], object], bytes]] = {
    "nothing": (lambda made: None, b""),
    "close": (lambda made: made.transport.close(), b""),
    "abort": (lambda made: made.transport.abort(), b""),
    "write": (lambda made: made.transport.write(b"of the child"), b"of the child"),
    "much": (lambda made: made.transport.write(bytes(MOST + 1)), bytes(MOST + 1)),
}


@pytest.mark.filterwarnings(FORKS)
@pytest.mark.parametrize("what", IN_CHILD)
def test_a_child_leaves_it_to_its_parent(loop: AbstractEventLoop, kind: str, what: str) -> None:
    act, of_child = IN_CHILD[what]

    async def main() -> None:
        child = 0
        made, _ = await writer(kind)
        reader, told = os.pipe()

        def write() -> None:
            nonlocal child
            made.transport.write(b"once")
            child = os.fork()
            if child:
                forked.append(child)
            else:
                act(made)
                loop.call_later(0, os.write, told, b".")

        await made.call(write)
        if child == 0:
            try:
                await loop.create_future()
            finally:
                os._exit(1)
        os.read(reader, 1)
        assert sorted(made.arrived()) == sorted(b"once" + of_child)
        made.transport.abort()
        os.close(reader)
        os.close(told)

    with children() as forked:
        run(loop, main())


def test_the_programs_own_use_of_the_socket_comes_after_it(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        sock = made.transport.get_extra_info("socket")

        def shut() -> None:
            made.transport.write(b"the ")
            made.transport.write(b"last")
            sock.shutdown(socket.SHUT_WR)
            assert made.arrived() == b"the last"

        def use() -> None:
            made.transport.write(b"first")
            os.write(sock.fileno(), b" second")
            assert made.arrived() == b"first second"

        await made.call(use)
        for _ in range(2 * LEARNT):
            await made.call(use)
        await made.call(shut)
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", [None, "abort", "close"])
def test_more_pieces_than_the_kernel_takes_at_once(
    loop: AbstractEventLoop, kind: str, end: str | None
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        made.transport.set_write_buffer_limits(high=0)

        def write() -> None:
            for _ in range(3000):
                made.transport.write(b".")
            if end:
                getattr(made.transport, end)()

        await made.call(write)
        assert made.arrived() == bytes(b"." * 3000)
        assert protocol.told == []
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_the_kernel_is_full_when_the_connection_is_ended(
    loop: AbstractEventLoop, kind: str, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        made.transport.set_write_buffer_limits(high=0)
        filled = 0

        def write() -> None:
            nonlocal filled
            filled = fill(fd)
            made.transport.write(b"the ")
            made.transport.write(b"last")
            getattr(made.transport, end)()

        fd = made.transport._sock_fd
        await made.call(write)
        assert protocol.told == ["pause"]
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == bytes(filled) + b"the last"

        await eventually_async(grown)
        await eventually_async(lambda: protocol.told == ["pause", "resume"])
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("what", ["abort", "close", "write"])
def test_nobody_is_told_of_a_connection_that_ended_while_it_resumed(
    loop: AbstractEventLoop, kind: str, what: str
) -> None:
    class Ending(Recorder):
        def resume_writing(self) -> None:
            super().resume_writing()
            if what == "write":
                peers[0].close()
            self.transport.write(b"a")
            self.transport.write(b"b")
            if what != "write":
                getattr(self.transport, what)()

    peers: list[socket.socket] = []

    async def main() -> None:
        made, protocol = await writer(kind, Ending)
        peers.append(made.peer)
        made.transport.set_write_buffer_limits(high=0)
        fd = made.transport._sock_fd
        while not protocol.told:
            made.transport.write(bytes(10_000))
        while "resume" not in protocol.told:
            made.arrived()
            await asyncio.sleep(0)
        if what == "write":
            made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        inside: Any = loop
        assert fd not in inside._selector.get_map()

    run(loop, main())


@pytest.mark.parametrize("how", ["abort", "raise"])
def test_sendfile_of_a_connection_that_is_ended_meanwhile(
    loop: AbstractEventLoop, kind: str, tmp_path: Any, how: str
) -> None:
    loop.set_exception_handler(lambda *_: None)
    path = tmp_path / "file"
    path.write_bytes(b"contents")

    class Ending(Recorder):
        def pause_writing(self) -> None:
            if how == "raise":
                raise ValueError
            self.transport.abort()

    async def main() -> None:
        made, protocol = await writer(kind, Ending)
        made.transport.set_write_buffer_limits(high=0)
        fd = made.transport._sock_fd

        async def send() -> None:
            fill(fd)
            made.transport.write(b"head")
            with open(path, "rb") as file:
                await loop.sendfile(made.transport, file)

        tasks = []
        await made.call(lambda: tasks.append(loop.create_task(send())))
        with pytest.raises(RuntimeError, match="closing"):
            await tasks[0]
        await eventually_async(lambda: protocol.lost)

    run(loop, main())


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_somebody_writes_while_the_connection_is_ended(
    loop: AbstractEventLoop, kind: str, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        transport = made.transport

        def end_it() -> None:
            # As a signal's handler could, between the two steps of the method.
            transport.write(b"the ")
            transport.write(b"last")
            getattr(selector_events._SelectorSocketTransport, end)(transport)

        await made.call(end_it)
        assert made.arrived() == b"the last"
        assert made.peer.recv(1) == b""
        if end == "write_eof":
            transport.abort()
        await eventually_async(lambda: protocol.lost)
        assert protocol.lost == [None]

    run(loop, main())


def test_a_socket_that_is_kept_keeps_no_transport(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> weakref.ref[Any]:
        made, protocol = await writer(kind)
        kept.append(made.transport.get_extra_info("socket"))
        made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        return weakref.ref(made.transport)

    kept: list[Any] = []
    reference = run(loop, main())
    assert is_collected(reference)
    assert kept[0].fileno() == -1
    assert "TransportSocket" in repr(kept[0])
