"""`sock_recv()` and its like, where CPython's suites are silent."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import inspect
import os
import socket
import ssl
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.support import DEADLINE, eventually_async

Pair = tuple[socket.socket, socket.socket]

BIG = 8 << 20


@pytest.fixture(params=["inet", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    both = _inet() if request.param == "inet" else socket.socketpair()
    for each in both:
        each.setblocking(False)
    yield both
    for each in both:
        each.close()


def _inet() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


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


def run(loop: AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(asyncio.wait_for(coroutine, DEADLINE))


def is_watched(loop: AbstractEventLoop, sock: socket.socket) -> bool:
    inside: Any = loop
    return sock.fileno() in inside._selector.get_map()


async def waiting(loop: AbstractEventLoop, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task in which the call waits."""
    task = loop.create_task(call)
    await asyncio.sleep(0)
    assert not task.done()
    return task


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
    def test_sizes_that_are_none(
        self, loop: AbstractEventLoop, pair: Pair, size: Any
    ) -> None:
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

        async def main() -> None:
            await waiting(loop, loop.sock_recv(ours, 10))

        run(loop, main())
        loop.close()
        ours.close()
        theirs.close()
        del ours, main
        gc.collect()
        assert watch() is None


class TestDescriptors:
    def test_a_number_that_is_another_socket_s_by_now(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            first, its_peer = socket.socketpair()
            first.setblocking(False)
            task = await waiting(loop, loop.sock_recv(first, 10))
            number = first.fileno()
            first.close()
            its_peer.close()
            both = socket.socketpair()
            again = next(each for each in both if each.fileno() == number)
            other = next(each for each in both if each is not again)
            with again, other:
                again.setblocking(False)
                other.setblocking(False)
                writing = await waiting(loop, loop.sock_sendall(again, bytes(BIG)))
                other.send(b"not for the first")
                with pytest.raises(OSError, match="descriptor"):
                    await task
                assert await loop.sock_recv(again, 100) == b"not for the first"
                writing.cancel()

        run(loop, main())

    def test_a_socket_that_is_closed_here_and_open_elsewhere_costs_nothing(
        self, loop: AbstractEventLoop
    ) -> None:
        """As in a child process: the kernel goes on watching what nobody here can name."""

        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.send(b"x")
            with theirs, ours.dup():
                assert await loop.sock_recv(ours, 1) == b"x"
                task = await waiting(loop, loop.sock_recv(ours, 1))
                task.cancel()
                await asyncio.wait([task])
                ours.close()
                theirs.send(b"for nobody")
                before = time.process_time()
                await asyncio.sleep(0.2)
                assert time.process_time() - before < 0.1

        run(loop, main())

    def test_a_second_wait_replaces_the_first(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            first = await waiting(loop, loop.sock_recv(ours, 10))
            second = await waiting(loop, loop.sock_recv(ours, 10))
            theirs.send(b"data")
            assert await second == b"data"
            first.cancel()
            await asyncio.wait([first])
            third = await waiting(loop, loop.sock_recv(ours, 10))
            loop.add_reader(ours, int)
            loop.remove_reader(ours)
            theirs.send(b"more")
            assert await loop.sock_recv(ours, 10) == b"more"
            third.cancel()
            await asyncio.wait([third])

        run(loop, main())

    def test_beside_a_reader_that_stays(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        seen: list[bytes] = []

        async def main() -> None:
            loop.add_reader(ours, lambda: seen.append(ours.recv(100)))
            sending = await waiting(loop, loop.sock_sendall(ours, bytes(BIG)))
            for number in range(3):
                theirs.send(b"data")
                await eventually_async(lambda wanted=number + 1: len(seen) == wanted)
            got = 0
            while got < BIG:
                got += len(await loop.sock_recv(theirs, 1 << 20))
            await sending
            theirs.send(b"data")
            await eventually_async(lambda: len(seen) == 4)
            loop.remove_reader(ours)

        run(loop, main())

    def test_the_socket_of_a_transport_is_refused(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, _ = pair

        async def main() -> None:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            for call in (loop.sock_recv(ours, 10), loop.sock_sendall(ours, bytes(BIG))):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    await call
            transport.abort()
            await asyncio.sleep(0)

        run(loop, main())

    def test_a_transport_after_it(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv(ours, 10))
            theirs.send(b"first")
            assert await task == b"first"
            reader, writer = await asyncio.open_connection(sock=ours)
            theirs.send(b"second")
            assert await reader.read(10) == b"second"
            writer.close()
            await writer.wait_closed()

        run(loop, main())

    def test_a_closed_socket(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        ours.close()
        for call in (loop.sock_recv(ours, 10), loop.sock_sendall(ours, b"x")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                run(loop, call)

    def test_a_closed_loop(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        call: Any = loop.sock_recv(ours, 10)
        loop.close()
        for each in (call, loop.sock_recv(ours, 10)):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                each.send(None)


class Counting(socket.socket):
    """A class of one's own, whose methods count."""

    calls = 0

    def recv(self, *args: Any) -> bytes:
        Counting.calls += 1
        return super().recv(*args)


class TestWhatIsNotPlain:
    def test_an_overridden_method_is_called(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        theirs.send(b"data")
        with Counting(fileno=ours.detach()) as counting:
            counting.setblocking(False)
            assert run(loop, loop.sock_recv(counting, 10)) == b"data"
        assert Counting.calls > 0

    def test_named_arguments(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        theirs.send(b"data")
        assert run(loop, loop.sock_recv(sock=ours, n=10)) == b"data"

    def test_a_socket_that_blocks_in_debug_mode(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        ours.setblocking(True)
        loop.set_debug(True)
        with pytest.raises(ValueError, match="non-blocking"):
            run(loop, loop.sock_recv(ours, 10))

    def test_tls_is_refused(self, loop: AbstractEventLoop, pair: Pair) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        wrapped = context.wrap_socket(pair[0], do_handshake_on_connect=False)
        with wrapped, pytest.raises(TypeError, match="SSL"):
            run(loop, loop.sock_recv(wrapped, 10))

    def test_wrong_arguments(self, loop: AbstractEventLoop, pair: Pair) -> None:
        calls: Any = loop
        for arguments in ((), (pair[0],), (pair[0], 1, 2)):
            with pytest.raises(TypeError, match="sock_recv"):
                calls.sock_recv(*arguments)


class TestTheCoroutine:
    def test_it_is_one(self, loop: AbstractEventLoop, pair: Pair) -> None:
        call: Any = loop.sock_recv(pair[0], 10)
        assert asyncio.iscoroutine(call)
        assert isinstance(call, collections.abc.Coroutine)
        assert inspect.isawaitable(call)
        assert not asyncio.isfuture(call)
        assert call.__qualname__ == "EventLoop.sock_recv"
        assert "not awaited" in repr(call)
        call.close()

    def test_a_task_says_what_it_waits_for(self, loop: AbstractEventLoop, pair: Pair) -> None:
        async def main() -> None:
            task = await waiting(loop, loop.sock_recv(pair[0], 10))
            assert "sock_recv() waiting" in repr(task)
            task.cancel()
            await asyncio.wait([task])

        run(loop, main())

    def test_it_is_awaited_once(self, loop: AbstractEventLoop, pair: Pair) -> None:
        async def main() -> None:
            call: Any = loop.sock_sendall(pair[0], b"x")
            await call
            with pytest.raises(RuntimeError, match="cannot reuse"):
                await call
            waiting_call: Any = loop.sock_recv(pair[0], 10)
            assert waiting_call.send(None) is waiting_call
            with pytest.raises(RuntimeError, match="wasn't used with future"):
                waiting_call.send(None)
            waiting_call.close()

        run(loop, main())

    def test_one_that_is_never_awaited(self, loop: AbstractEventLoop, pair: Pair) -> None:
        with pytest.warns(RuntimeWarning, match="EventLoop.sock_recv' was never awaited"):
            loop.sock_recv(pair[0], 10)

    def test_as_a_future(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        seen: list[object] = []

        async def main() -> None:
            call: Any = loop.sock_recv(ours, 10)
            call.send(None)
            assert call.get_loop() is loop
            assert not call.done()
            for wrong in (call.result, call.exception):
                with pytest.raises(asyncio.InvalidStateError):
                    wrong()
            call.add_done_callback(seen.append)
            call.add_done_callback(print)
            assert call.remove_done_callback(print) == 1
            theirs.send(b"data")
            await eventually_async(lambda: seen)
            assert seen == [call]
            assert call.done()
            assert call.result() == b"data"
            assert call.exception() is None
            call.add_done_callback(seen.append)
            await asyncio.sleep(0)
            assert seen == [call, call]

        run(loop, main())

    def test_a_task_in_python(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        tasks: Any = asyncio.tasks
        loop.set_task_factory(lambda loop, coro, **more: tasks._PyTask(coro, loop=loop, **more))

        async def main() -> None:
            task = await waiting(loop, loop.sock_recv(ours, 10))
            theirs.send(b"data")
            assert await task == b"data"
            task = await waiting(loop, loop.sock_recv(ours, 10))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(loop, main())

    def test_a_callback_that_fails(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))

        async def main() -> None:
            call: Any = loop.sock_recv(ours, 10)
            call.send(None)
            call.add_done_callback(lambda _: 1 / 0)
            theirs.send(b"data")
            await eventually_async(lambda: contexts)

        run(loop, main())
        assert isinstance(contexts[0]["exception"], ZeroDivisionError)


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
