"""Descriptors, signals, sockets and transports, where CPython's suites are silent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from asyncio import AbstractEventLoop
from collections.abc import Iterator

import pytest

from tests.support import DEADLINE, eventually_async

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, which do not block."""
    both = socket.socketpair()
    for each in both:
        each.setblocking(False)
    yield both
    for each in both:
        each.close()


def run(loop: AbstractEventLoop, condition: object) -> None:
    loop.run_until_complete(eventually_async(condition))  # type: ignore[arg-type]


class TestReadersAndWriters:
    def test_what_removing_says(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair
        assert loop.remove_reader(ours) is False
        assert loop.remove_writer(ours) is False
        loop.add_reader(ours, int)
        loop.add_writer(ours.fileno(), int)
        assert loop.remove_reader(ours.fileno()) is True
        assert loop.remove_writer(ours) is True
        assert loop.remove_reader(ours) is False
        assert loop.remove_writer(ours) is False

    def test_a_reader_is_called_for_as_long_as_there_is_data(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair
        seen: list[bytes] = []
        loop.add_reader(ours, lambda: seen.append(ours.recv(1)))
        theirs.send(b"abc")
        run(loop, lambda: len(seen) == 3)
        assert seen == [b"a", b"b", b"c"]
        loop.remove_reader(ours)

    def test_a_second_reader_replaces_the_first(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        seen: list[str] = []
        loop.add_reader(ours, seen.append, "first")
        loop.add_reader(ours, lambda: (ours.recv(10), seen.append("second")))
        theirs.send(b"x")
        run(loop, lambda: seen)
        assert seen == ["second"]
        loop.remove_reader(ours)

    def test_a_writer_is_called_when_there_is_room(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair
        while True:
            try:
                ours.send(b"x" * 65_536)
            except BlockingIOError:
                break
        seen: list[str] = []

        def note() -> None:
            seen.append("room")
            loop.remove_writer(ours)

        loop.add_writer(ours, note)
        loop.run_until_complete(asyncio.sleep(0.01))
        assert seen == []
        run(loop, lambda: seen or _take(theirs))
        assert seen == ["room"]

    def test_a_reader_may_remove_itself_and_others(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, theirs = pair
        seen: list[str] = []

        def first() -> None:
            seen.append("first")
            loop.remove_reader(ours)
            loop.remove_reader(theirs)

        def second() -> None:
            seen.append("second")
            loop.remove_reader(ours)
            loop.remove_reader(theirs)

        ours.send(b"x")
        theirs.send(b"x")
        loop.add_reader(ours, first)
        loop.add_reader(theirs, second)
        loop.run_until_complete(asyncio.sleep(0.01))
        # Both were ready: the first to be called took the other's turn.
        assert len(seen) == 1

    def test_a_number_of_a_closed_file_can_be_used_again(self, loop: AbstractEventLoop) -> None:
        seen: list[int] = []
        for turn in range(5):
            reading, writing = os.pipe()
            loop.add_reader(reading, lambda fd=reading, at=turn: (os.read(fd, 1), seen.append(at)))
            os.write(writing, b"x")
            run(loop, lambda wanted=turn: wanted in seen)
            loop.remove_reader(reading)
            os.close(reading)
            os.close(writing)
        assert seen == list(range(5))

    @pytest.mark.parametrize("file", [-1, "text", None, object()])
    def test_no_file(self, loop: AbstractEventLoop, file: object) -> None:
        with pytest.raises(ValueError, match="Invalid file"):
            loop.add_reader(file, int)  # type: ignore[arg-type]

    def test_a_closed_file(self, loop: AbstractEventLoop) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        with pytest.raises(OSError, match="descriptor"):
            loop.add_reader(reading, int)

    def test_the_file_of_a_transport_is_refused(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair

        async def main() -> None:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            for call in (loop.add_reader, loop.add_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    call(ours.fileno(), int)
            for remove in (loop.remove_reader, loop.remove_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    remove(ours.fileno())
            transport.abort()
            await asyncio.sleep(0)

        loop.run_until_complete(main())


def _take(peer: socket.socket) -> bool:
    try:
        peer.recv(1 << 20)
    except BlockingIOError:
        pass
    return False


class TestSignals:
    def test_a_handler_is_called_in_the_loop(self, loop: AbstractEventLoop) -> None:
        seen: list[object] = []
        loop.add_signal_handler(signal.SIGUSR1, lambda *args: seen.append((*args, _running())), 7)
        os.kill(os.getpid(), signal.SIGUSR1)
        run(loop, lambda: seen)
        assert seen == [(7, loop)]
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop.remove_signal_handler(signal.SIGUSR1) is False
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL

    def test_it_wakes_a_loop_that_waits(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            came = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, came.set)
            thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
            thread.start()
            await came.wait()
            thread.join()

        loop.run_until_complete(asyncio.wait_for(main(), DEADLINE))
        loop.remove_signal_handler(signal.SIGUSR1)

    def test_children_are_told_of(self, loop: AbstractEventLoop) -> None:
        seen: list[str] = []
        loop.add_signal_handler(signal.SIGCHLD, seen.append, "child")
        child = subprocess.Popen([sys.executable, "-S", "-c", ""])
        run(loop, lambda: seen)
        assert child.wait(DEADLINE) == 0
        loop.remove_signal_handler(signal.SIGCHLD)

    def test_children_of_the_loop_beside_a_handler_of_sigchld(
        self, loop: AbstractEventLoop
    ) -> None:
        seen: list[str] = []
        loop.add_signal_handler(signal.SIGCHLD, seen.append, "child")

        async def main() -> int:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-c", "raise SystemExit(3)"
            )
            return await child.wait()

        assert loop.run_until_complete(asyncio.wait_for(main(), DEADLINE)) == 3
        run(loop, lambda: seen)
        loop.remove_signal_handler(signal.SIGCHLD)

    def test_many_signals_each_have_their_handler(self, loop: AbstractEventLoop) -> None:
        seen: list[int] = []
        chosen = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM)
        for each in chosen:
            loop.add_signal_handler(each, seen.append, each)
        for each in chosen:
            os.kill(os.getpid(), each)
        run(loop, lambda: len(seen) == len(chosen))
        assert sorted(seen) == sorted(chosen)
        for each in chosen:
            loop.remove_signal_handler(each)

    def test_closing_brings_the_old_handlers_back(self, loop: AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGINT, int)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1

    def test_who_is_woken_by_signals_stays_so(self, loop: AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop.call_soon(signal.set_wakeup_fd, ours.fileno())
            loop.run_until_complete(asyncio.sleep(0))
            assert signal.set_wakeup_fd(-1) == ours.fileno()

    @pytest.mark.parametrize("number", [0, 9, 1_000])
    def test_what_cannot_be_handled(self, loop: AbstractEventLoop, number: int) -> None:
        with pytest.raises((ValueError, RuntimeError)):
            loop.add_signal_handler(number, int)
        assert loop.remove_signal_handler(number) is False if number == 9 else True

    def test_a_coroutine_is_no_handler(self, loop: AbstractEventLoop) -> None:
        async def function() -> None:
            pass

        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.add_signal_handler(signal.SIGUSR1, function)

    def test_only_in_the_main_thread(self, loop: AbstractEventLoop) -> None:
        errors: list[BaseException] = []

        def add() -> None:
            try:
                loop.add_signal_handler(signal.SIGUSR1, int)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=add)
        thread.start()
        thread.join()
        assert [type(error) for error in errors] in ([RuntimeError], [ValueError])


def _running() -> AbstractEventLoop:
    return asyncio.get_running_loop()


class TestTransports:
    def test_a_transport_is_asyncio_s_with_a_real_socket(
        self, loop: AbstractEventLoop, pair: Pair
    ) -> None:
        ours, _ = pair

        async def main() -> None:
            transport, protocol = await loop.create_connection(asyncio.Protocol, sock=ours)
            assert isinstance(transport, asyncio.Transport)
            sock = transport.get_extra_info("socket")
            assert sock.fileno() == ours.fileno()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
            assert sock.family is socket.AF_UNIX
            assert transport.get_extra_info("unknown", "default") == "default"
            assert transport.get_protocol() is protocol
            other = asyncio.Protocol()
            transport.set_protocol(other)
            assert transport.get_protocol() is other
            assert not transport.is_closing()
            transport.close()
            transport.close()
            assert transport.is_closing()
            await asyncio.sleep(0)

        loop.run_until_complete(main())

    def test_reading_can_be_paused(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        seen: list[bytes] = []

        class Protocol(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                seen.append(data)

        async def main() -> None:
            transport, _ = await loop.create_connection(Protocol, sock=ours)
            assert transport.is_reading()
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            theirs.send(b"data")
            await asyncio.sleep(0.01)
            assert seen == []
            transport.resume_reading()
            transport.resume_reading()
            await eventually_async(lambda: seen == [b"data"])
            transport.abort()
            await asyncio.sleep(0)

        loop.run_until_complete(main())

    def test_write_limits(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, _ = pair

        async def main() -> None:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
            transport.set_write_buffer_limits(high=1_000)
            assert transport.get_write_buffer_limits() == (250, 1_000)
            transport.set_write_buffer_limits(low=500)
            assert transport.get_write_buffer_limits() == (500, 2_000)
            transport.set_write_buffer_limits(high=0)
            assert transport.get_write_buffer_limits() == (0, 0)
            with pytest.raises(ValueError, match="must be >="):
                transport.set_write_buffer_limits(high=1, low=2)
            assert transport.get_write_buffer_size() == 0
            transport.abort()
            await asyncio.sleep(0)

        loop.run_until_complete(main())

    @pytest.mark.parametrize("data", ["text", None, 7, [1]])
    def test_only_bytes_are_written(
        self, loop: AbstractEventLoop, pair: Pair, data: object
    ) -> None:
        ours, _ = pair

        async def main() -> None:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            with pytest.raises(TypeError):
                transport.write(data)  # type: ignore[arg-type]
            transport.abort()
            await asyncio.sleep(0)

        loop.run_until_complete(main())

    def test_what_is_written_arrives_in_order(self, loop: AbstractEventLoop, pair: Pair) -> None:
        ours, theirs = pair
        parts = [bytes([65 + index]) * (1 + index * 997) for index in range(26)]

        async def main() -> bytes:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            for index, part in enumerate(parts):
                kind = (bytes, bytearray, memoryview)[index % 3]
                if index % 2:
                    transport.write(kind(part))
                else:
                    transport.writelines([kind(part[:10]), kind(part[10:]), b""])
            data = b""
            while len(data) < sum(map(len, parts)):
                data += await loop.sock_recv(theirs, 100_000)
            transport.abort()
            await asyncio.sleep(0)
            return data

        assert loop.run_until_complete(asyncio.wait_for(main(), DEADLINE)) == b"".join(parts)
