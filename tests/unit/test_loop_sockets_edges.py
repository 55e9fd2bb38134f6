"""Operations on sockets where something unusual comes in between."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import DEADLINE, eventually_async
from tests.unit.sockets import Pair, connected, run, waiting

MESSAGE = 200_000

exports_buffers = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="classes in Python export no buffers there"
)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    yield from connected("unix")


class TestMessages:
    @pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
    @pytest.mark.parametrize("waits", [False, True])
    def test_large_ones_come_whole(self, loop: AbstractEventLoop, kind: int, waits: bool) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)

        async def main() -> None:
            for turn in range(4):
                data = os.urandom(MESSAGE) + b"%d" % turn
                if waits:
                    task = await waiting(loop, loop.sock_recv(ours, 300_000))
                    theirs.send(data)
                    assert await task == data
                else:
                    theirs.send(data)
                    assert await loop.sock_recv(ours, 300_000) == data

        with ours, theirs:
            ours.setblocking(False)
            run(loop, main())


class TestAfterWaitingInVain:
    def test_what_needs_no_data_does_not_wait(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair

        async def main() -> None:
            for _ in range(6):
                task = await waiting(loop, loop.sock_recv(ours, 10))
                task.cancel()
                await asyncio.wait([task])
            assert await loop.sock_recv(ours, 0) == b""
            assert await loop.sock_recv_into(ours, bytearray()) == 0
            constant: Any = b"constant"
            with pytest.raises((TypeError, BufferError)):
                await loop.sock_recv_into(ours, constant)

        run(loop, main())


class TestNamedFiles:
    def test_a_watched_socket_is_kept(self, loop: AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        seen: list[int] = []
        fd = ours.fileno()
        loop.add_reader(ours, seen.append, 1)
        known = weakref.ref(ours)
        del ours
        gc.collect()
        theirs.send(b"x")
        run(loop, eventually_async(lambda: bool(seen)))
        kept = known()
        assert kept is not None
        kept.close()
        del kept
        assert loop.remove_reader(fd)
        run(loop, eventually_async(lambda: known() is None))
        theirs.close()

    def test_one_is_kept_until_both_are_gone(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        loop.add_reader(ours, int)
        loop.add_writer(ours, int)
        held = sys.getrefcount(ours)
        assert loop.remove_reader(ours)
        assert loop.remove_writer(ours)
        run(loop, asyncio.sleep(0))
        assert sys.getrefcount(ours) == held - 2

    def test_a_closed_one_is_found(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        loop.add_reader(ours, int)
        loop.add_writer(ours, int)
        ours.close()
        assert loop.remove_reader(ours)
        assert loop.remove_writer(ours)
        with pytest.raises(ValueError, match="Invalid file"):
            loop.remove_reader(ours)

    def test_one_whose_number_is_a_transport_s_now(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair
        got: list[bytes] = []

        class Protocol(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                got.append(data)

        async def main() -> None:
            loop.add_reader(ours, int)
            loop.remove_reader(ours)
            again = socket.socket(fileno=ours.detach())
            transport, _ = await loop.create_connection(Protocol, sock=again)
            with pytest.raises(ValueError, match="Invalid file"):
                loop.remove_reader(ours)
            theirs.send(b"data")
            await eventually_async(lambda: got == [b"data"])
            transport.close()
            await asyncio.sleep(0)

        run(loop, main())

    def test_a_number_that_is_no_descriptor(self) -> None:
        code = """if True:
            import resource
            from counterpoint.aio import EventLoop
            loop = EventLoop()
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
            for add in loop.add_reader, loop.add_writer:
                try:
                    add(2_000_000_000, print)
                except OSError as error:
                    print(error.errno)
        """
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert done.stdout == "9\n9\n", done.stderr


class Meddling:
    """A buffer, which closes a socket when it is asked for; its number is another file's then."""

    def __init__(self, sock: socket.socket, then: Callable[[], Any] = bytes) -> None:
        self.sock, self.then, self.quiet = sock, then, 0
        self.others: list[socket.socket] = []

    def __buffer__(self, flags: int) -> memoryview:
        self.quiet -= 1
        if self.quiet < 0 and not self.others:
            self.sock.close()
            self.others.extend(socket.socketpair())
            self.then()
        return memoryview(bytearray(b"secret"))


class TestBuffersThatRunPython:
    @exports_buffers
    def test_nothing_is_sent_to_another_file(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        data: Any = Meddling(ours)
        with pytest.raises(OSError, match="descriptor"):
            run(loop, loop.sock_sendall(ours, data))
        for other in data.others:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(10)
        for other in data.others:
            other.close()

    @exports_buffers
    def test_nothing_is_received_from_another_file(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, _ = pair
        buffer: Any = Meddling(ours)
        with pytest.raises(OSError, match="descriptor"):
            run(loop, loop.sock_recv_into(ours, buffer))
        for other in buffer.others:
            other.close()

    @exports_buffers
    def test_an_interrupt_after_closing_is_raised(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair

        def interrupt() -> None:
            raise KeyboardInterrupt

        buffer: Any = Meddling(ours, interrupt)
        buffer.quiet = 1

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv_into(ours, buffer))
            theirs.send(b"data")
            await task

        with pytest.raises(KeyboardInterrupt):
            run(loop, main())
        for other in buffer.others:
            other.close()


class Untrue:
    def __bool__(self) -> bool:
        raise ZeroDivisionError


class Data(bytearray):
    operation: Any


class Unequal:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, _: object) -> None:
        pass


class TestTheOperation:
    def test_a_size_that_cannot_be_told(self, loop: AbstractEventLoop, pair: Pair) -> None:
        size: Any = Untrue()
        call = loop.sock_recvfrom_into(pair[0], bytearray(3), size)
        with pytest.raises(ZeroDivisionError):
            run(loop, call)

    @pytest.mark.filterwarnings("ignore:coroutine")
    def test_one_that_is_never_awaited_in_a_cycle(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        data = Data(b"data")
        data.operation = loop.sock_sendall(pair[0], data)
        known = weakref.ref(data)
        del data
        gc.collect()
        assert known() is None

    def test_a_callback_that_cannot_be_compared(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        told: list[object] = []

        async def main() -> None:
            operation: Any = loop.sock_recv(ours, 10)
            operation.send(None)
            operation.add_done_callback(told.append)
            operation.add_done_callback(Unequal())
            operation.add_done_callback(told.append)
            with pytest.raises(ZeroDivisionError):
                operation.remove_done_callback(None)
            theirs.send(b"data")
            await eventually_async(lambda: len(told) == 2)
            assert operation.result() == b"data"

        run(loop, main())

    def test_callbacks_that_are_removed(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        told: list[str] = []

        def first(_: object) -> None:
            told.append("first")

        def second(_: object) -> None:
            told.append("second")

        async def main() -> None:
            operation: Any = loop.sock_recv(ours, 10)
            operation.send(None)
            for callback in (first, second, first, first):
                operation.add_done_callback(callback)
            assert operation.remove_done_callback(first) == 3
            assert operation.remove_done_callback(first) == 0
            operation.add_done_callback(first)
            theirs.send(b"data")
            await eventually_async(lambda: len(told) == 2)
            assert told == ["second", "first"]

        run(loop, main())


class Failing(asyncio.Protocol):
    """What `resume_writing()` raises is the reason for which the connection is lost."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def resume_writing(self) -> None:
        raise ZeroDivisionError

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


def test_what_resume_writing_raises_is_the_reason(loop: AbstractEventLoop, pair: Pair) -> None:
    ours, theirs = pair
    loop.set_exception_handler(lambda _, context: None)

    async def main() -> None:
        transport, protocol = await loop.create_connection(Failing, sock=ours)
        transport.write(bytes(1_000_000))
        while not protocol.lost:
            await loop.sock_recv(theirs, 1 << 20)
            await asyncio.sleep(0)
        (reason,) = protocol.lost
        assert isinstance(reason, ZeroDivisionError)

    run(loop, main())


def test_a_loop_is_not_named_for_a_task(loop: AbstractEventLoop) -> None:
    other = asyncio.new_event_loop()

    async def nothing() -> None:
        pass

    coroutine = nothing()
    named: Any = {"".join(["lo", "op"]): other}
    with pytest.raises(TypeError):
        loop.create_task(coroutine, **named)
    with pytest.raises(TypeError):
        loop.create_task(coroutine, name="named", **named)
    coroutine.close()
    other.close()
