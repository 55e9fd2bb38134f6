"""The stall watchdog: what blocks a loop is named, with its stack, while it does."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterpoint.aio import EventLoop, new_event_loop
from tests.support import DEADLINE, eventually, is_collected, python
from tests.unit.blocking import (
    THRESHOLD,
    functions,
    long_callbacks,
    reported,
    run_once,
    stalls,
    until_counted,
    until_reported,
)


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = new_event_loop()
    yield loop
    loop.close()


def test_a_blocked_loop_is_reported_while_it_is_blocked(loop: EventLoop) -> None:
    def blocks() -> None:
        until_reported(loop)
        assert not reported(loop).ended

    loop.watch(THRESHOLD, log=False)
    loop.call_soon(blocks)
    run_once(loop)
    eventually(lambda: reported(loop).ended)
    seen = reported(loop)
    assert "test_a_blocked_loop_is_reported_while_it_is_blocked.<locals>.blocks()" in seen.callback
    assert THRESHOLD <= seen.seconds < DEADLINE
    assert seen.sampled is not None
    assert seen.sampled >= THRESHOLD
    found = functions(seen)
    assert found[0].endswith("<locals>.blocks")
    assert found[1] == "until_reported"
    assert not any("run_forever" in function for function in found)
    assert Path(seen.stack[0][0]) == Path(__file__)


def test_a_tenth_of_a_second_is_long_unless_said_otherwise(loop: EventLoop) -> None:
    def blocks() -> None:
        until_reported(loop)

    assert inspect.signature(loop.watch).parameters["threshold"].default == 0.1
    loop.watch()
    loop.call_soon(blocks)
    run_once(loop)
    seen = reported(loop)
    assert seen.ended
    assert 0.1 <= seen.seconds < DEADLINE
    assert "<locals>.blocks()" in seen.callback


def test_a_task_is_named(loop: EventLoop) -> None:
    async def main() -> None:
        until_reported(loop)

    loop.watch(THRESHOLD, log=False)
    loop.run_until_complete(loop.create_task(main(), name="the one"))
    seen = reported(loop)
    assert "name='the one'" in seen.callback
    assert seen.stack[0][2].endswith("<locals>.main")


def test_the_stack_of_a_task_in_python_begins_with_its_coroutine(loop: EventLoop) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        until_reported(loop)

    loop.watch(THRESHOLD, log=False)
    tasks: Any = asyncio.tasks
    loop.run_until_complete(tasks._PyTask(main(), loop=loop))
    seen = reported(loop)
    assert seen.stack[0][2].endswith("<locals>.main")


class Slow(asyncio.Protocol):
    def __init__(self, loop: EventLoop) -> None:
        self.loop = loop
        self.done = loop.create_future()

    def data_received(self, data: bytes) -> None:
        until_reported(self.loop)
        self.done.set_result(None)


def test_a_task_that_data_wakes_is_named(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()

    async def serve() -> None:
        reader, writer = await asyncio.open_connection(sock=ours)
        await reader.read(1)
        until_reported(loop)
        writer.close()

    async def main() -> None:
        serving = loop.create_task(serve(), name="the server")
        await asyncio.sleep(0)
        theirs.send(b"x")
        await serving

    loop.watch(THRESHOLD, log=False)
    with theirs:
        loop.run_until_complete(main())
    assert "name='the server'" in reported(loop).callback


def test_a_task_that_an_operation_wakes_is_named(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def receive() -> None:
        await loop.sock_recv(ours, 1)
        until_reported(loop)

    async def main() -> None:
        receiving = loop.create_task(receive(), name="the receiver")
        await asyncio.sleep(0)
        theirs.send(b"x")
        await receiving

    loop.watch(THRESHOLD, log=False)
    with ours, theirs:
        loop.run_until_complete(main())
    assert "name='the receiver'" in reported(loop).callback


def test_a_nested_turn_ends_what_was_switched_on(loop: EventLoop) -> None:
    def nests() -> None:
        loop.call_soon(loop.stop)
        loop._run_once()  # type: ignore[attr-defined]

    loop.measure()
    loop.call_soon(loop.watch, THRESHOLD)
    loop.call_soon(nests)
    loop.run_forever()
    assert loop.statistics().stalls <= long_callbacks(loop)
    # What ran is let go of: the watchdog finds nothing of it while the loop sleeps.
    loop.call_later(5 * THRESHOLD, loop.stop)
    loop.run_forever()
    assert loop.statistics().stalls <= long_callbacks(loop)


def test_a_loop_of_turns_ends_what_was_switched_on() -> None:
    class Turns(EventLoop):
        def _run_once(self) -> None:
            super()._run_once()  # type: ignore[misc]

    def watch(loop: Turns) -> None:
        loop.watch(THRESHOLD, log=False)
        loop.stop()

    loop = Turns()
    loop.measure()
    loop.call_soon(watch, loop)
    loop.run_forever()
    looks = time.monotonic() + 5 * THRESHOLD
    eventually(lambda: time.monotonic() > looks)
    assert loop.statistics().stalls <= long_callbacks(loop)
    loop.close()
    reference = weakref.ref(loop)
    del loop
    assert is_collected(reference)


def test_a_callback_that_switches_it_on_is_watched(loop: EventLoop) -> None:
    async def main() -> None:
        loop.watch(THRESHOLD, log=False)
        until_reported(loop)

    loop.measure()
    loop.run_until_complete(loop.create_task(main(), name="first"))
    seen = reported(loop)
    assert "name='first'" in seen.callback
    assert seen.ended

    def plain() -> None:
        loop.watch(None)
        loop.watch(THRESHOLD, log=False)
        until_reported(loop)

    loop.watch(None)
    loop.call_soon(plain)
    run_once(loop)
    assert reported(loop).callback.endswith("EventLoop")
    assert reported(loop).stack[0][2].endswith("plain")
    # It is over with that turn: a loop that sleeps does not stall.
    loop.call_later(5 * THRESHOLD, loop.stop)
    loop.run_forever()
    assert 2 <= loop.statistics().stalls <= long_callbacks(loop)


def test_a_stall_is_over_when_the_loop_is(loop: EventLoop) -> None:
    loop.watch(THRESHOLD, log=False)
    loop.call_soon(until_reported, loop)
    run_once(loop)
    seen = reported(loop)
    assert seen.ended
    assert reported(loop) == seen


def test_a_protocol_is_named(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()

    async def connect() -> None:
        transport, protocol = await loop.create_connection(lambda: Slow(loop), sock=ours)
        theirs.send(b"x")
        await protocol.done
        transport.close()

    loop.watch(THRESHOLD, log=False)
    with theirs:
        loop.run_until_complete(connect())
    seen = reported(loop)
    assert seen.callback == f"protocol {__name__}.Slow"
    assert seen.stack[0][2] == "Slow.data_received"


def test_callbacks_that_are_quick_are_no_stall(loop: EventLoop) -> None:
    loop.measure()
    loop.watch(1.0, log=False)
    end = loop.time() + 0.1

    def again() -> None:
        if loop.time() < end:
            loop.call_soon(again)
        else:
            loop.stop()

    loop.call_soon(again)
    loop.run_forever()
    assert loop.statistics().stalls <= long_callbacks(loop, 1.0)


def test_sleep_is_no_stall(loop: EventLoop) -> None:
    loop.measure()
    loop.watch(THRESHOLD, log=False)
    loop.run_until_complete(asyncio.sleep(5 * THRESHOLD))
    assert loop.statistics().stalls <= long_callbacks(loop)


def test_only_the_last_are_kept(loop: EventLoop) -> None:
    loop.watch(0.002, log=False)
    for number in range(1, 19):
        loop.call_soon(until_counted, loop, number)
        loop.call_soon(int)
    run_once(loop)
    assert loop.statistics().stalls >= 18
    assert len(stalls(loop)) == 16
    begun = [stall.began for stall in stalls(loop)]
    assert begun == sorted(begun)


def test_what_keeps_the_interpreter_is_named_afterwards(loop: EventLoop) -> None:
    loop.watch(THRESHOLD, log=False)
    for length in range(20, 40):
        begun = time.monotonic()
        loop.call_soon(re.compile(r"(a+)+b").match, "a" * length)
        run_once(loop)
        if time.monotonic() - begun > 10 * THRESHOLD:
            break
    matching = "Pattern.match()"
    eventually(lambda: matching in [stall.callback for stall in stalls(loop)])
    assert {stall.stack for stall in stalls(loop) if stall.callback == matching} == {()}


def test_it_can_be_ended_and_begun_again(loop: EventLoop) -> None:
    loop.watch(THRESHOLD, log=False)
    loop.watch(None)
    loop.call_soon(time.sleep, 3 * THRESHOLD)
    run_once(loop)
    assert stalls(loop) == ()
    loop.watch(THRESHOLD, log=False)
    loop.call_soon(until_reported, loop)
    run_once(loop)
    assert "until_reported" in reported(loop).callback


@pytest.mark.parametrize("threshold", ["0.1", b"", True, 1j])
def test_a_threshold_is_a_number(loop: EventLoop, threshold: Any) -> None:
    with pytest.raises(TypeError, match=f"threshold must be a number .*, not {threshold!r}$"):
        loop.watch(threshold)


@pytest.mark.parametrize("threshold", [0, -1.0, float("nan"), float("inf"), 10**400])
def test_a_threshold_is_positive(loop: EventLoop, threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be positive"):
        loop.watch(threshold)


def test_a_closed_loop_is_not_watched(loop: EventLoop) -> None:
    loop.watch(THRESHOLD, log=False)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.watch()


def test_a_watched_loop_is_collected() -> None:
    loop = new_event_loop()
    loop.watch(THRESHOLD, log=False)
    loop.call_soon(until_reported, loop)
    run_once(loop)
    reference = weakref.ref(loop)
    loop.close()
    del loop
    assert is_collected(reference)


def test_the_callback_is_not_kept(loop: EventLoop) -> None:
    def blocks() -> None:
        until_reported(loop)

    loop.watch(THRESHOLD, log=False)
    loop.call_soon(blocks)
    run_once(loop)
    eventually(lambda: reported(loop).ended)
    reference = weakref.ref(blocks)
    del blocks
    assert is_collected(reference)


def test_several_loops_in_several_threads() -> None:
    loops = [new_event_loop() for _ in range(4)]
    barrier = threading.Barrier(len(loops))

    def run(loop: EventLoop) -> None:
        def blocks() -> None:
            barrier.wait(DEADLINE)
            until_reported(loop)

        loop.watch(THRESHOLD, log=False)
        loop.call_soon(blocks)
        run_once(loop)

    threads = [threading.Thread(target=run, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    for loop in loops:
        assert reported(loop).stack[0][2].endswith("<locals>.blocks")
        loop.close()


def test_in_debug_mode_too(loop: EventLoop) -> None:
    def blocks() -> None:
        until_reported(loop)

    loop.set_debug(True)
    loop.slow_callback_duration = DEADLINE
    loop.watch(THRESHOLD, log=False)
    loop.call_soon(blocks)
    run_once(loop)
    assert "<locals>.blocks()" in reported(loop).callback


def test_what_a_watched_callback_raises_is_reported_as_ever(loop: EventLoop) -> None:
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    loop.watch(log=False)
    loop.call_soon(int, "x")
    cancelled = loop.call_soon(int, "y")
    cancelled.cancel()
    run_once(loop)
    (context,) = contexts
    assert str(context["message"]).startswith("Exception in callback int")
    assert isinstance(context["exception"], ValueError)


def test_a_program_may_end_while_it_is_blocked_and_watched() -> None:
    done = python(
        "import threading, time\n"
        "from counterpoint.aio import new_event_loop\n"
        "def run():\n"
        "    loop = new_event_loop()\n"
        "    loop.watch(0.001)\n"
        "    loop.call_soon(time.sleep, 1000)\n"
        "    loop.run_forever()\n"
        "for _ in range(3):\n"
        "    threading.Thread(target=run, daemon=True).start()\n"
        "threading.Event().wait(0.02)\n"  # the end may come at any moment of a report
    )
    assert done.returncode == 0, done.stderr


def test_a_filter_that_does_not_return_does_not_keep_the_program() -> None:
    done = python(
        "import logging, threading, time\n"
        "from counterpoint.aio import new_event_loop\n"
        "entered = threading.Event()\n"
        "def stuck(record):\n"
        "    entered.set()\n"
        "    threading.Event().wait()\n"
        "logging.getLogger('counterpoint').addFilter(stuck)\n"
        "loop = new_event_loop()\n"
        "loop.watch(0.001)\n"
        "loop.call_soon(entered.wait)\n"
        "loop.call_soon(loop.stop)\n"
        "loop.run_forever()\n"
        "print('ended')\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ended"), done.stderr


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_watches_loops_of_its_own(loop: EventLoop) -> None:
    loop.watch(THRESHOLD, log=False)
    pid = os.fork()
    if pid == 0:
        try:
            child = new_event_loop()
            child.watch(THRESHOLD, log=False)
            child.call_soon(until_reported, child)
            run_once(child)
            child.close()
            status = 0 if loop.statistics().stalls == 0 else 3
        except BaseException:
            status = 4
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    loop.call_soon(until_reported, loop)
    run_once(loop)
    assert reported(loop).ended


def test_collections_while_stacks_are_taken(loop: EventLoop) -> None:
    loop.watch(0.001, log=False)
    left = 20

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            until_counted(loop, loop.statistics().stalls + 1)

    def again() -> None:
        nonlocal left
        deep(50)
        gc.collect()
        left -= 1
        if left:
            loop.call_soon(again)
        else:
            loop.stop()

    loop.call_soon(again)
    loop.run_forever()
    assert loop.statistics().stalls >= 20
