"""`sock_recv()` and its like: what they receive and send, and how they are given up."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.sockets import BIG, KINDS, Pair, connected, is_watched, run, waiting


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    yield from connected(request.param)


@pytest.fixture
def datagrams() -> Iterator[Pair]:
    """Two datagram sockets with addresses."""
    both = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    for each in both:
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    yield both
    for each in both:
        each.close()


class TestReceiving:
    def test_what_is_there_comes_at_once(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        theirs.send(b"data")

        async def main() -> None:
            await eventually_async(lambda: _readable(ours))
            call = loop.sock_recv(ours, 3)
            with pytest.raises(StopIteration) as ended:
                call.send(None)
            assert ended.value.value == b"dat"
            assert await loop.sock_recv(ours, 100) == b"a"

        run(loop, main())

    def test_waiting_many_times(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            for turn in range(600):  # past the point where trying first is given up, and on
                task = await waiting(loop, loop.sock_recv(ours, 10))
                await loop.sock_sendall(theirs, b"%d" % turn)
                assert await task == b"%d" % turn

        run(loop, main())
        assert not is_watched(loop, ours)

    def test_data_that_is_there_after_waiting_in_vain(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair

        async def main() -> None:
            for _ in range(10):
                task = await waiting(loop, loop.sock_recv(ours, 10))
                await loop.sock_sendall(theirs, b"x")
                assert await task == b"x"
            for _ in range(10):
                await loop.sock_sendall(theirs, b"xy")
                assert await loop.sock_recv(ours, 1) == b"x"
                assert await loop.sock_recv(ours, 1) == b"y"

        run(loop, main())

    def test_sizes_from_small_to_large_and_back(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            for size in (1, 100_000, 300_000, 17_000, 16_383, 5, 2_000_000, 1):
                data = os.urandom(size)
                sending = loop.create_task(loop.sock_sendall(theirs, data))
                got = b""
                while len(got) < size:
                    got += await loop.sock_recv(ours, 1_000_000)
                await sending
                assert got == data

        run(loop, main())

    def test_into_a_buffer(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        buffer = bytearray(b"........")

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv_into(ours, memoryview(buffer)[2:5]))
            buffer[0] = 33
            await loop.sock_sendall(theirs, b"data")
            assert await task == 3
            assert await loop.sock_recv_into(ours, buffer) == 1
            assert buffer == b"a.dat..."
            assert await loop.sock_recv_into(ours, bytearray()) == 0

        run(loop, main())

    def test_nothing_is_asked_for(self, loop: AbstractEventLoop, pair: Pair) -> None:
        assert run(loop, loop.sock_recv(pair[0], 0)) == b""

    def test_the_end(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv(ours, 10))
            theirs.close()
            assert await task == b""
            assert await loop.sock_recv(ours, 10) == b""

        run(loop, main())

    @pytest.mark.parametrize("size", [-1, "1", None, 1.5])
    def test_sizes_that_are_none(self, loop: AbstractEventLoop, pair: Pair, size: Any) -> None:
        with pytest.raises((ValueError, TypeError)):
            run(loop, loop.sock_recv(pair[0], size))

    def test_a_datagram_and_its_sender(self, loop: AbstractEventLoop, datagrams: Pair) -> None:
        ours, theirs = datagrams
        buffer = bytearray(10)

        async def main() -> None:
            task = await waiting(loop, loop.sock_recvfrom(ours, 10))
            assert await loop.sock_sendto(theirs, b"one", ours.getsockname()) == 3
            assert await task == (b"one", theirs.getsockname())
            for more in ((), (4,)):
                task = await waiting(loop, loop.sock_recvfrom_into(ours, buffer, *more))
                assert await loop.sock_sendto(theirs, b"four", ours.getsockname()) == 4
                assert await task == (4, theirs.getsockname())
            assert buffer[:4] == b"four"

        run(loop, main())

    def test_a_connection_is_accepted(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                listener.setblocking(False)
                task = await waiting(loop, loop.sock_accept(listener))
                with socket.socket() as ours:
                    ours.setblocking(False)
                    await loop.sock_connect(ours, listener.getsockname())
                    theirs, address = await task
                    with theirs:
                        assert theirs.gettimeout() == 0
                        assert address == ours.getsockname()
                        await loop.sock_sendall(theirs, b"hello")
                        assert await loop.sock_recv(ours, 10) == b"hello"

        run(loop, main())


class TestSending:
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_all_of_it(
        self, loop: AbstractEventLoop, pair: Pair, kind: Callable[[bytes], Any]
    ) -> None:
        ours, theirs = pair
        data = os.urandom(BIG)

        async def main() -> None:
            task = await waiting(loop, loop.sock_sendall(ours, kind(data)))
            got = bytearray()
            while len(got) < BIG:
                got += await loop.sock_recv(theirs, 1 << 20)
            assert await task is None
            assert got == data

        run(loop, main())

    def test_a_buffer_that_is_sent_keeps_its_size(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        data = bytearray(BIG)

        async def main() -> None:
            task = await waiting(loop, loop.sock_sendall(pair[0], data))
            with pytest.raises(BufferError):
                data.clear()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            data.clear()

        run(loop, main())

    @pytest.mark.parametrize("data", ["text", None, 7])
    def test_what_is_no_data(self, loop: AbstractEventLoop, pair: Pair, data: Any) -> None:
        with pytest.raises(TypeError, match="bytes-like"):
            run(loop, loop.sock_sendall(pair[0], data))

    def test_to_a_peer_that_is_gone(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            task = await waiting(loop, loop.sock_sendall(ours, bytes(BIG)))
            theirs.close()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await task

        run(loop, main())

    def test_both_directions_at_once(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            receiving = await waiting(loop, loop.sock_recv(ours, 10))
            sending = await waiting(loop, loop.sock_sendall(ours, bytes(BIG)))
            await loop.sock_sendall(theirs, b"first")
            assert await receiving == b"first"
            receiving = await waiting(loop, loop.sock_recv(ours, 10))
            got = 0
            while got < BIG:
                got += len(await loop.sock_recv(theirs, 1 << 20))
            await sending
            await loop.sock_sendall(theirs, b"second")
            assert await receiving == b"second"

        run(loop, main())


class TestGivingUp:
    def test_a_cancelled_wait_takes_nothing(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv(ours, 10))
            assert is_watched(loop, ours)
            theirs.send(b"data")
            task.cancel("why")
            with pytest.raises(asyncio.CancelledError, match="why"):
                await task
            assert not is_watched(loop, ours)
            assert await loop.sock_recv(ours, 10) == b"data"

        run(loop, main())

    def test_a_timeout(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sock_recv(ours, 10), 0.001)
            assert not is_watched(loop, ours)
            first, second = await asyncio.gather(
                loop.sock_recv(ours, 10), loop.sock_sendall(theirs, b"data")
            )
            assert (first, second) == (b"data", None)

        run(loop, main())

    def test_cancelled_by_who_is_woken_first(self, loop: AbstractEventLoop, pair: Pair) -> None:
        """Both sockets are readable at once: the task of the first gives the second up."""
        ours, theirs = pair
        seen: list[bytes] = []

        async def receive(sock: socket.socket, others: list[asyncio.Task[None]]) -> None:
            seen.append(await loop.sock_recv(sock, 10))
            for other in others:
                if other is not asyncio.current_task():
                    other.cancel()

        async def main() -> None:
            tasks: list[asyncio.Task[None]] = []
            for sock in (ours, theirs):
                tasks.append(await waiting(loop, receive(sock, tasks)))
            ours.send(b"to theirs")
            theirs.send(b"to ours")
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(each, asyncio.CancelledError) for each in done) == 1
            left = ours if seen == [b"to theirs"] else theirs
            assert await loop.sock_recv(left, 10) in (b"to ours", b"to theirs")

        run(loop, main())

    def test_closing_and_throwing(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair

        async def main() -> None:
            for end in ("close", "throw", "cancel"):
                call: Any = loop.sock_recv(ours, 10)
                assert call.send(None) is call
                assert is_watched(loop, ours)
                if end == "close":
                    call.close()
                elif end == "throw":
                    with pytest.raises(KeyError, match="reason"):
                        call.throw(KeyError("reason"))
                else:
                    assert call.cancel() is True
                    assert call.cancelled()
                    assert call.cancel() is False
                assert not is_watched(loop, ours)

        run(loop, main())

    def test_nothing_is_kept_alive(self, loop: AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        watch = weakref.ref(ours)
        loop.set_exception_handler(lambda *_: None)  # a pending task is dropped

        async def main(sock: socket.socket) -> None:
            await waiting(loop, loop.sock_recv(sock, 10))

        run(loop, main(ours))
        loop.close()
        ours.close()
        theirs.close()
        del ours
        gc.collect()
        assert watch() is None


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
