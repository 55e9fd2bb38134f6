"""What callbacks write piece by piece leaves at their end, in order and whole."""

from __future__ import annotations

import asyncio
import contextvars
import random
import socket
import threading
from asyncio import AbstractEventLoop
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.pieces import LEARNT, MOST, Recorder, Writer, each_kind, writer
from tests.unit.secure import contexts
from tests.unit.sockets import KINDS, Pair, connected, run

kind = pytest.fixture(params=KINDS)(each_kind)


def test_it_is_held_back_until_the_callback_has_ended(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)

        def write() -> None:
            for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
                made.transport.write(piece)
                assert made.arrived() == b""
                assert made.transport.get_write_buffer_size() == 0
            made.transport.writelines([b"d", b"e"])
            assert made.arrived() == b""

        await made.call(write)
        assert made.arrived() == b"abcde"
        assert protocol.told == []
        made.transport.abort()

    run(loop, main())


def test_who_answers_in_one_piece_each_time_has_it_sent_at_once(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        answers: list[bytes] = []

        def answer() -> None:
            made.transport.write(b"one")
            answers.append(made.arrived())

        protocol.then = answer
        for times in range(1, 11):
            made.peer.send(b"?")
            await eventually_async(lambda times=times: len(answers) == times)
        # The habit of before ends with the first.
        assert answers == [b"", *[b"oneone"], *[b"one"] * 8]
        made.transport.abort()

    run(loop, main())


def test_what_was_written_is_sent(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        data = bytearray(b"as it was")

        def write() -> None:
            made.transport.write(data)
            data[:] = b"otherwise"

        await made.call(write)
        assert made.arrived() == b"as it was"
        made.transport.abort()

    run(loop, main())


def test_much_is_not_held_back(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            made.transport.write(bytes(MOST + 1))
            assert len(made.arrived()) > 0

        def write_more() -> None:
            made.transport.write(b"0" * MOST)
            assert made.arrived() == b""
            made.transport.write(b"1")
            assert made.arrived() == b"0" * MOST + b"1"

        await made.call(write)
        await eventually_async(lambda: made.transport.get_write_buffer_size() == 0)
        made.arrived()
        await made.learn()
        await made.call(write_more)
        made.transport.abort()

    run(loop, main())


def test_a_callback_that_raises(loop: AbstractEventLoop, kind: str) -> None:
    handled: list[Any] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))

    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            made.transport.write(b"before")
            raise ValueError

        loop.call_soon(write)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made.arrived() == b"before"
        made.transport.abort()

    run(loop, main())
    assert [type(error) for error in handled] == [ValueError]


def test_a_callback_that_ends_the_run(loop: AbstractEventLoop, kind: str) -> None:
    made, _ = run(loop, writer(kind))

    def write() -> None:
        made.transport.write(b"before")
        raise KeyboardInterrupt

    loop.call_soon(write)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(1))
    assert made.arrived() == b"before"

    async def more() -> None:
        await made.call(lambda: made.transport.write(b"after"))
        assert made.arrived() == b"after"
        made.transport.abort()

    run(loop, more())


def test_outside_of_a_callback_it_is_sent_at_once(loop: AbstractEventLoop, kind: str) -> None:
    made, _ = run(loop, writer(kind))
    for _ in range(LEARNT):
        for _ in range(2):
            made.transport.write(b"piece")
            assert made.arrived() == b"piece"
    made.transport.abort()
    loop.run_until_complete(asyncio.sleep(0))


def test_another_thread_has_it_sent_at_once(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write() -> None:
            thread = threading.Thread(target=made.transport.write, args=(b"from there",))
            thread.start()
            thread.join()
            assert made.arrived() == b"from there"

        await made.call(write)
        made.transport.abort()

    run(loop, main())


def test_the_kernel_does_not_take_it(loop: AbstractEventLoop, kind: str) -> None:
    unsent: list[int] = []

    class Noting(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            unsent.append(self.transport.get_write_buffer_size())

    async def main() -> None:
        made, protocol = await writer(kind, Noting)
        made.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        made.transport.set_write_buffer_limits(high=0)
        written = b""

        def write() -> None:
            nonlocal written
            for number in range(10):
                piece = b"%d" % number * 1_000
                made.transport.write(piece)
                written += piece

        while not protocol.told:
            await made.call(write)
        assert unsent[0] > 0
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == written

        await eventually_async(grown)
        assert protocol.told == ["pause", "resume"]
        made.transport.abort()

    run(loop, main())


number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


@pytest.mark.parametrize("given", [False, True])
def test_much_is_sent_in_the_context_of_who_writes(
    loop: AbstractEventLoop, kind: str, given: bool
) -> None:
    class Filling(Recorder):
        def pause_writing(self) -> None:
            self.told.append(f"pause in {number.get()}")

        def data_received(self, data: bytes) -> None:
            number.set(1)
            while not self.told:
                for _ in range(3):
                    self.transport.write(bytes(9_000))

    async def main() -> None:
        if given:
            number.set(2)
        made, protocol = await writer(kind, Filling)
        made.transport.set_write_buffer_limits(high=0)
        for _turn in range(2):
            made.peer.send(b".")
            await eventually_async(lambda: protocol.told)
            assert protocol.told == ["pause in 1"]
            while protocol.told[-1] != "resume":
                made.arrived()
                await asyncio.sleep(0)
            protocol.told.clear()
        made.transport.abort()

    run(loop, main())


def test_of_a_socket_of_the_programs_nothing_is_held_back(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main(pair: Pair) -> None:
        transport, _ = await loop.create_connection(Recorder, sock=pair[0])
        made = Writer(transport, pair[1])
        await made.learn()

        def write() -> None:
            transport.write(b"at once")
            assert made.arrived() == b"at once"

        await made.call(write)
        transport.abort()

    for pair in connected(kind):
        run(loop, main(pair))


def test_two_threads_write(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        counts = {"here": 0, "there": 0}
        ended = threading.Event()

        def write_there() -> None:
            while not ended.wait(0.000_05):
                made.transport.write(b"t")
                counts["there"] += 1

        def write() -> None:
            for _ in range(2):
                made.transport.write(b"h")
            counts["here"] += 2

        thread = threading.Thread(target=write_there)
        thread.start()
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return len(got) == sum(counts.values())

        for _ in range(300):
            for _ in range(20):
                loop.call_soon(write)
            await asyncio.sleep(0)
            grown()
        ended.set()
        thread.join()
        await eventually_async(grown)
        assert (got.count(b"h"), got.count(b"t")) == (counts["here"], counts["there"])
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["plain", "TLS", "measured", "watched", "debug"])
def test_whatever_is_written_arrives_whole_and_in_order(
    loop: AbstractEventLoop, how: str, seed: int
) -> None:
    dice = random.Random(seed)
    inside: Any = loop
    if how == "measured":
        inside.measure()
    elif how == "watched":
        inside.watch(30, log=False)
    loop.set_debug(how == "debug")

    async def main() -> None:
        server, client = contexts() if how == "TLS" else (None, None)
        made: list[Recorder] = []

        def make() -> Recorder:
            made.append(Recorder())
            return made[-1]

        serving = await loop.create_server(make, "127.0.0.1", 0, ssl=server)
        name = "localhost" if client else None
        where = serving.sockets[0].getsockname()
        theirs, protocol = await loop.create_connection(
            Recorder, *where, ssl=client, server_hostname=name
        )
        await eventually_async(lambda: made and hasattr(made[0], "transport"))
        serving.close()
        ours = made[0].transport
        written = b""

        def write() -> None:
            nonlocal written
            for _ in range(dice.choice([1, 2, 2, 2, 3])):
                data = dice.randbytes(dice.choice([1, 10, 500, 5_000, 20_000]))
                written += data
                dice.choice([ours.write, lambda data: ours.writelines([data[:3], data[3:]])])(data)

        for _ in range(200):
            loop.call_soon(write)
            await asyncio.sleep(0)
        loop.call_soon(lambda: (write(), ours.close()))
        await eventually_async(lambda: protocol.lost)
        assert protocol.data == written
        theirs.abort()

    run(loop, main())
