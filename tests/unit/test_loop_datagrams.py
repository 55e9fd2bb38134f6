"""Datagram transports: what is native per datagram behaves as asyncio's, of the newest version."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.pieces import Told
from tests.unit.sockets import FORKS, children, run

V4 = "127.0.0.1"
V6 = "::1"


class Recorder(Told, asyncio.DatagramProtocol):
    """Keeps what it is told, and what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.data: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.data.append((data, addr))
        self.then()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self.then()


async def endpoint(host: str = V4, **more: Any) -> Recorder:
    loop = asyncio.get_running_loop()
    where = more or {"local_addr": (host, 0)}
    _, protocol = await loop.create_datagram_endpoint(Recorder, **where)
    return protocol


@pytest.fixture(params=[V4, V6])
def peer(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET if request.param == V4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((request.param, 0))
        made.settimeout(5)
        yield made


async def ended(ours: Recorder) -> None:
    ours.transport.close()
    await eventually_async(lambda: ours.lost)
    assert ours.lost == [None]


def host(peer: socket.socket) -> str:
    return str(peer.getsockname()[0])


def arrived(peer: socket.socket) -> list[bytes]:
    """What is there now, each from the same sender."""
    found = []
    peer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(peer.recv(1 << 17))
    return found


def test_to_an_address_and_back(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(host(peer))
        address = peer.getsockname()
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:], b""):
            ours.transport.sendto(data, address)
            got, sender = peer.recvfrom(100)
            assert (got, sender) == (bytes(data), ours.transport.get_extra_info("sockname"))
            peer.sendto(b"back " + got, sender)
            await eventually_async(lambda: ours.data)
            assert ours.data.pop() == (b"back " + got, address)
            assert type(address) is tuple
        await ended(ours)

    run(loop, main())


def test_a_name_and_a_short_address(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(host(peer))
        number = peer.getsockname()[1]
        ours.transport.sendto(b"short", (host(peer), number))
        assert peer.recv(100) == b"short"
        if host(peer) == V4:
            ours.transport.sendto(b"named", ("localhost", number))
            ours.transport.sendto(b"short of dots", ("127.1", number))
            assert [peer.recv(100), peer.recv(100)] == [b"named", b"short of dots"]
        await ended(ours)

    run(loop, main())


def test_a_connected_one(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(remote_addr=peer.getsockname()[:2])
        address = ours.transport.get_extra_info("peername")
        ours.transport.sendto(b"one")
        ours.transport.sendto(b"two", None)
        ours.transport.sendto(data=b"three", addr=address)
        assert [peer.recv(100) for _ in range(3)] == [b"one", b"two", b"three"]
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            ours.transport.sendto(b"four", (host(peer), 9))
        peer.sendto(b"back", ours.transport.get_extra_info("sockname"))
        await eventually_async(lambda: ours.data)
        assert ours.data == [(b"back", address)]
        await ended(ours)

    run(loop, main())


REFUSED: dict[str, tuple[tuple[Any, ...], type[BaseException]]] = {
    "no data": ((), TypeError),
    "text": (("text", (V4, 9)), TypeError),
    "number": ((5, (V4, 9)), TypeError),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_datagram_is_refused(loop: AbstractEventLoop, what: str) -> None:
    arguments, error = REFUSED[what]

    async def main() -> None:
        ours = await endpoint()
        with pytest.raises(error):
            ours.transport.sendto(*arguments)
        assert not ours.transport.is_closing()
        await ended(ours)

    run(loop, main())


@pytest.mark.parametrize("address", [(V4,), (V4, 70_000), (V4, "9"), "nowhere", (5, 9), (V4, True)])
def test_what_is_no_address_is_told_as_by_asyncio(loop: AbstractEventLoop, address: Any) -> None:
    told: list[tuple[str, list[type]]] = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        reported: list[Any] = []
        running.set_exception_handler(lambda _, context: reported.append(context))
        ours = await endpoint()
        ours.transport.sendto(b"data", address)
        await asyncio.sleep(0)
        names = [repr(context.get("exception")) for context in reported]
        told.append((repr(names), [type(error) for error in ours.errors]))
        ours.transport.abort()
        await eventually_async(lambda: ours.lost)

    run(loop, main())
    theirs = asyncio.new_event_loop()
    run(theirs, main())
    theirs.close()
    assert told[0] == told[1]


def test_nobody_is_there(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        address = peer.getsockname()[:2]
        ours = await endpoint(remote_addr=address)
        # So it takes nothing of others, and nobody else is given the port.
        peer.connect(peer.getsockname())
        ours.transport.sendto(b"one")
        await eventually_async(lambda: ours.errors)
        assert isinstance(ours.errors[0], ConnectionRefusedError)
        ours.transport.sendto(b"two")
        ours.transport.sendto(b"three")  # is told what became of two
        await eventually_async(lambda: len(ours.errors) > 1)
        assert not ours.transport.is_closing()
        await ended(ours)

    run(loop, main())


def test_too_long_for_one(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(host(peer))
        ours.transport.sendto(bytes(1 << 17), peer.getsockname())
        assert [error.errno for error in ours.errors] == [90]
        ours.transport.sendto(bytes(60_000), peer.getsockname())
        assert len(peer.recv(1 << 17)) == 60_000
        await ended(ours)

    run(loop, main())


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40])
def test_all_that_came_at_once(loop: AbstractEventLoop, count: int) -> None:
    async def main() -> None:
        ours = await endpoint()
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.connect(ours.transport.get_extra_info("sockname"))
            for turn in range(30):  # past the point where a second one is not looked for
                for number in range(count if turn % 7 == 0 else 1):
                    peer.send(b"%d" % number)
                expected = [b"%d" % number for number in range(count if turn % 7 == 0 else 1)]
                await eventually_async(lambda: len(ours.data) >= len(expected))  # noqa: B023
                assert [data for data, _ in ours.data] == expected
                ours.data.clear()
        await ended(ours)

    run(loop, main())


ENDS: dict[str, Callable[[Recorder], object]] = {
    "close": lambda ours: ours.transport.close(),
    "abort": lambda ours: ours.transport.abort(),
    "socket": lambda ours: ours.transport._sock.close(),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_is_ended_by_the_first_of_many(loop: AbstractEventLoop, end: str) -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda *_: None)
        ours = await endpoint()
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.connect(ours.transport.get_extra_info("sockname"))
            for _ in range(5):
                peer.send(b"data")
            ours.then = lambda: ENDS[end](ours)
            await eventually_async(lambda: ours.data or ours.errors)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(ours.data) == 1
        ours.then = int
        ours.transport.abort()
        await eventually_async(lambda: ours.lost)

    run(loop, main())


def test_what_stops_the_loop_stops_it(loop: AbstractEventLoop) -> None:
    async def main() -> Recorder:
        return await endpoint()

    ours = run(loop, main())
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.connect(ours.transport.get_extra_info("sockname"))
        for _ in range(3):
            peer.send(b"data")
        ours.then = loop.stop
        for count in range(1, 4):
            loop.run_forever()
            assert len(ours.data) == count
    ours.then = int
    run(loop, ended(ours))


def test_an_exception_costs_nobody_else_a_datagram(loop: AbstractEventLoop) -> None:
    reported: list[Any] = []

    def fail() -> None:
        raise LookupError

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        ours = await endpoint()
        ours.then = fail
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.connect(ours.transport.get_extra_info("sockname"))
            for number in range(5):
                peer.send(b"%d" % number)
            await eventually_async(lambda: len(ours.data) == 5)
        assert [data for data, _ in ours.data] == [b"0", b"1", b"2", b"3", b"4"]
        assert [type(error) for error in reported] == 5 * [LookupError]
        await ended(ours)

    run(loop, main())


def test_another_protocol_gets_the_next(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        first, second = await endpoint(), Recorder()
        first.then = lambda: first.transport.set_protocol(second)
        assert first.transport.get_protocol() is first
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.connect(first.transport.get_extra_info("sockname"))
            for number in range(3):
                peer.send(b"%d" % number)
            await eventually_async(lambda: len(second.data) == 2)
        assert [data for data, _ in first.data + second.data] == [b"0", b"1", b"2"]
        second.transport = first.transport
        await ended(second)

    run(loop, main())


def full(ours: Recorder, kept: list[Any]) -> None:
    """Let nothing be sent at once, as if the kernel had no room."""

    class Full:
        def __init__(self, sock: Any) -> None:
            self.sock = sock

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def sendto(self, *_: Any) -> int:
            raise BlockingIOError

        send = sendto

    kept.append(ours.transport._sock)
    ours.transport._sock = Full(kept[0])


def test_what_waits_for_room_keeps_its_order(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(host(peer))
        transport, address, kept = ours.transport, peer.getsockname(), []
        transport.set_write_buffer_limits(high=50)
        full(ours, kept)
        transport._send_otherwise(b"first", address)  # there was no room for it
        array = bytearray(b"second")
        transport.sendto(array, address)
        array[:] = b"change"
        transport.sendto(b"", address)
        transport.sendto(b"third", address)
        assert arrived(peer) == []
        assert transport.get_write_buffer_size() == len(b"firstsecondthird") + 4 * 8
        assert transport.get_extra_info("statistics") == (0, 0, 16 + 4 * 8)
        transport.set_write_buffer_limits(high=40)
        transport.sendto(b"fourth", address)
        assert ours.told == ["pause"]
        transport._sock = kept[0]
        await eventually_async(lambda: ours.told == ["pause", "resume"])
        await eventually_async(lambda: transport.get_write_buffer_size() == 0)
        transport.sendto(b"fifth", address)
        assert arrived(peer) == [b"first", b"second", b"", b"third", b"fourth", b"fifth"]
        assert transport.get_extra_info("statistics") == (0, 27, 0)
        await ended(ours)

    run(loop, main())


def test_closing_sends_what_waits(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours, kept = await endpoint(host(peer)), []  # type: ignore[var-annotated]
        full(ours, kept)
        ours.transport._send_otherwise(b"first", peer.getsockname())
        ours.transport.close()
        assert ours.transport.is_closing()
        ours.transport._sock = kept[0]
        await eventually_async(lambda: ours.lost)
        assert arrived(peer) == [b"first"]

    run(loop, main())


def test_bytes_are_counted(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        inside: Any = loop
        before = inside.statistics()
        ours = await endpoint(host(peer))
        ours.transport.sendto(b"12345", peer.getsockname())
        peer.sendto(b"123", ours.transport.get_extra_info("sockname"))
        await eventually_async(lambda: ours.data)
        assert ours.transport.get_extra_info("statistics") == (3, 5, 0)
        after = inside.statistics()
        assert after.bytes_received - before.bytes_received == 3
        assert after.bytes_sent - before.bytes_sent == 5
        await ended(ours)

    run(loop, main())


def test_a_unix_socket_has_asyncios(loop: AbstractEventLoop, tmp_path: Any) -> None:
    async def main() -> None:
        path = str(tmp_path / "a")
        ours = await endpoint(family=socket.AF_UNIX, local_addr=path)
        theirs = await endpoint(family=socket.AF_UNIX, remote_addr=path)
        theirs.transport.sendto(b"data")
        await eventually_async(lambda: ours.data)
        await ended(ours)
        await ended(theirs)

    run(loop, main())


@pytest.mark.filterwarnings(FORKS)
def test_a_child_has_its_own(loop: AbstractEventLoop, peer: socket.socket) -> None:
    async def main() -> None:
        ours = await endpoint(host(peer))
        child = os.fork()
        if child == 0:
            try:
                ours.transport.sendto(b"of the child", peer.getsockname())
            finally:
                os._exit(0)
        forked.append(child)
        assert peer.recv(100) == b"of the child"
        ours.transport.sendto(b"of the parent", peer.getsockname())
        assert peer.recv(100) == b"of the parent"
        await ended(ours)

    with children() as forked:
        run(loop, main())


def test_it_is_collected(loop: AbstractEventLoop) -> None:
    async def main() -> weakref.ref[Any]:
        ours = await endpoint()
        ours.transport.sendto(b"data", ours.transport.get_extra_info("sockname"))
        await eventually_async(lambda: ours.data)
        ours.transport.close()
        await eventually_async(lambda: ours.lost)
        return weakref.ref(ours.transport)

    reference = run(loop, main())
    gc.collect()
    assert reference() is None
