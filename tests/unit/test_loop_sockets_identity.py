"""`sock_recv()` and its like: whose descriptor it is, what is not plain, and what is awaited."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import socket
import ssl
import time
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.sockets import BIG, KINDS, Pair, connected, run, waiting


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    yield from connected(request.param)


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

    def test_what_a_task_asks_for(self, loop: AbstractEventLoop, pair: Pair) -> None:
        call: Any = loop.sock_recv(pair[0], 10)
        assert call._asyncio_future_blocking is None
        call.send(None)
        assert call._asyncio_future_blocking is True
        call._asyncio_future_blocking = False
        assert call._asyncio_future_blocking is False
        for name in ("get_loop", "add_done_callback", "_asyncio_future_blocking"):
            assert name in dir(call)
            assert getattr(call, "".join(list(name))) == getattr(call, name)  # not the same string
        with pytest.raises(AttributeError, match="cannot be set"):
            call.get_loop = None
        with pytest.raises(AttributeError, match="no_such"):
            call.no_such = None
        for given in ((), (print, print)):
            with pytest.raises(TypeError, match="takes a callback"):
                call.add_done_callback(*given, context=copy_context())
        call.close()

    def test_a_task_in_python(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        tasks: Any = asyncio.tasks

        async def main() -> None:
            task = tasks._PyTask(loop.sock_recv(ours, 10), loop=loop)
            await asyncio.sleep(0)
            assert not task.done()
            theirs.send(b"data")
            await eventually_async(task.done)
            assert task.result() == b"data"
            task = tasks._PyTask(loop.sock_recv(ours, 10), loop=loop)
            await asyncio.sleep(0)
            assert task.cancel() is True
            await eventually_async(task.done)
            assert task.cancelled()

        run(loop, main())

    def test_a_callback_that_fails(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        contexts: list[dict[str, Any]] = []
        shown: list[str] = []

        def tell(_: object, context: dict[str, Any]) -> None:
            contexts.append(context)
            shown.append(repr(context["handle"]))

        loop.set_exception_handler(tell)

        async def main() -> None:
            call: Any = loop.sock_recv(ours, 10)
            call.send(None)
            call.add_done_callback(lambda _: 1 / 0)
            theirs.send(b"data")
            await eventually_async(lambda: contexts)

        run(loop, main())
        assert isinstance(contexts[0]["exception"], ZeroDivisionError)
        assert "test_a_callback_that_fails" in shown[0]
