"""What the tasks of a turn write leaves together, when they have run, and soon."""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.pieces import Recorder, Writer, accepted, each_kind
from tests.unit.sockets import FORKS, KINDS, children, run

# So many callbacks, and it is known.
LEARNT = 4
PATIENCE, LATE = 0.0005, 0.002

kind = pytest.fixture(params=KINDS)(each_kind)


async def writer(kind: str) -> tuple[Writer, Recorder]:
    """A transport that scheduled callbacks are known to write to, a piece each."""
    protocol, peer = await accepted(kind)
    made = Writer(protocol.transport, peer)
    for _ in range(LEARNT):
        await made.call(lambda: made.transport.write(b"?"))
        await eventually_async(made.arrived)
    return made, protocol


def pass_time(seconds: float) -> None:
    """Be busy so long."""
    loop = asyncio.get_event_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        pass


async def in_one_turn(*functions: Callable[[], object]) -> None:
    """Call them one after the other, each in a callback of its own; what they raise is raised."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    errors: list[BaseException] = []

    def call(function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:
            errors.append(error)

    for function in functions:
        loop.call_soon(call, function)
    loop.call_soon(done.set_result, None)
    await done
    if errors:
        raise errors[0]


async def undisturbed(kind: str, attempt: Callable[[Writer, Writer], Awaitable[None]]) -> None:
    """Until it was quicker than the loop's patience: another process may run meanwhile."""
    loop = asyncio.get_running_loop()
    while True:
        made = [(await writer(kind))[0] for _ in range(2)]
        began = loop.time()
        try:
            await attempt(*made)
        except AssertionError:
            if loop.time() - began < PATIENCE:
                raise
        else:
            return
        finally:
            for each in made:
                each.transport.abort()


def test_it_leaves_when_all_of_the_turn_have_run(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        async def attempt(one: Writer, two: Writer) -> None:
            seen: list[bytes] = []

            def look() -> None:
                seen.extend((one.arrived(), two.arrived()))

            await in_one_turn(
                lambda: one.transport.write(b"1"),
                look,
                lambda: two.transport.write(b"2"),
                lambda: one.transport.write(b"3"),
                look,
            )
            rest = (one.arrived(), two.arrived())
            assert seen == [b""] * 4
            assert rest == (b"13", b"2")
            assert one.transport.get_write_buffer_size() == 0

        await undisturbed(kind, attempt)

    run(loop, main())


def test_what_is_written_in_pieces_by_callbacks_that_take_long_waits_for_their_ends(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        seen: list[bytes] = []

        def write() -> None:
            made.transport.write(b"head ")
            made.transport.write(b"body")

        for _ in range(LEARNT):
            await in_one_turn(write, lambda: pass_time(LATE))
            made.arrived()
        await in_one_turn(write, lambda: seen.append(made.arrived()), lambda: pass_time(LATE))
        assert seen == [b"head body"]
        made.transport.abort()

    run(loop, main())


def test_a_turn_within_a_callback_sends_it_before_it_sleeps(
    loop: AbstractEventLoop, kind: str
) -> None:
    inside: Any = loop

    async def main() -> None:
        made, _ = await writer(kind)
        seen: list[bytes] = []

        ended = loop.create_future()

        def turn() -> None:
            loop.call_later(0.001, lambda: seen.append(made.arrived()))
            while not seen:
                inside._run_once()
            ended.set_result(None)

        loop.call_soon(made.transport.write, b"soon")
        loop.call_soon(turn)
        await ended
        assert seen == [b"soon"]
        made.transport.abort()

    run(loop, main())


def test_who_is_new_is_not_waited_for(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        protocol, peer = await accepted(kind)
        made = Writer(protocol.transport, peer)
        for _ in range(LEARNT):
            await made.call(lambda: made.transport.write(b"at once"))
            assert made.arrived() == b"at once"
        made.transport.abort()

    run(loop, main())


def test_patience_ends(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        seen: list[bytes] = []
        await in_one_turn(
            lambda: made.transport.write(b"soon"),
            lambda: seen.append(made.arrived()),
            lambda: pass_time(PATIENCE),
            lambda: seen.append(made.arrived()),
        )
        assert seen[1:] == [b"soon"] or seen[:1] == [b"soon"]  # a slow machine's is over before
        made.transport.abort()

    run(loop, main())


def test_whose_callbacks_take_long_is_not_held_back_any_more(
    loop: AbstractEventLoop, kind: str
) -> None:
    async def main() -> None:
        made, _ = await writer(kind)

        def write_and_compute() -> None:
            made.transport.write(b"before it")
            pass_time(LATE)

        def write() -> None:
            made.transport.write(b"at once")
            assert made.arrived() == b"at once"

        await made.call(write_and_compute)
        assert made.arrived() == b"before it"
        for _ in range(100):
            await made.call(write)
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_a_callback_of_the_same_turn_raises(
    loop: AbstractEventLoop, kind: str, error: type[BaseException]
) -> None:
    kept: list[Any] = []
    loop.set_exception_handler(lambda *_: None)

    def fail() -> None:
        raise error

    async def main() -> None:
        made, _ = await writer(kind)
        kept.append(made)
        loop.call_soon(made.transport.write, b"nevertheless")
        loop.call_soon(fail)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    if issubclass(error, Exception):
        run(loop, main())
    else:
        with pytest.raises(error):
            run(loop, main())
    (made,) = kept
    assert made.arrived() == b"nevertheless"
    made.transport.abort()
    loop.run_until_complete(asyncio.sleep(0))


def test_the_loop_is_stopped(loop: AbstractEventLoop, kind: str) -> None:
    made, _ = run(loop, writer(kind))
    loop.call_soon(loop.stop)
    loop.call_soon(made.transport.write, b"the last")
    loop.run_forever()
    assert made.arrived() == b"the last"
    made.transport.abort()
    loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("end", ["close", "write_eof", "abort"])
def test_another_callback_ends_the_connection(loop: AbstractEventLoop, kind: str, end: str) -> None:
    async def main() -> None:
        made, protocol = await writer(kind)
        await in_one_turn(lambda: made.transport.write(b"the last"), getattr(made.transport, end))
        made.peer.setblocking(False)
        assert made.arrived() == b"the last"
        made.transport.abort()
        await eventually_async(lambda: protocol.lost)

    run(loop, main())


@pytest.mark.filterwarnings(FORKS)
def test_another_callback_forks(loop: AbstractEventLoop, kind: str) -> None:
    async def main() -> None:
        made, _ = await writer(kind)
        reader, told = os.pipe()

        def fork() -> None:
            child = os.fork()
            if child:
                forked.append(child)
            else:
                # Before any task goes on, which from Python 3.14 on none does in a child.
                loop.call_soon(os.write, told, b".")
                loop.call_soon(os._exit, 0)

        await in_one_turn(lambda: made.transport.write(b"once"), fork)
        os.read(reader, 1)
        assert made.arrived() == b"once"
        made.transport.abort()
        os.close(reader)
        os.close(told)

    with children() as forked:
        run(loop, main())


def test_a_measured_and_watched_loop(loop: AbstractEventLoop, kind: str) -> None:
    inside: Any = loop
    inside.measure()
    inside.watch(60.0)

    async def main() -> None:
        async def attempt(made: Writer, _: Writer) -> None:
            seen: list[bytes] = []
            await in_one_turn(
                lambda: made.transport.write(b"together"), lambda: seen.append(made.arrived())
            )
            rest = made.arrived()
            assert seen == [b""]
            assert rest == b"together"

        await undisturbed(kind, attempt)

    run(loop, main())
