"""Arguments may be named as in asyncio."""

from __future__ import annotations

import asyncio
import inspect
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.pieces import accepted, close_peers
from tests.unit.sockets import run

CALLED: list[tuple[object, ...]] = []
VARIABLE: ContextVar[str] = ContextVar("variable", default="none")


def note(*arguments: object) -> None:
    CALLED.append((*arguments, VARIABLE.get()))


SCHEDULED: dict[str, Callable[[Any], asyncio.Handle]] = {
    "call_soon": lambda loop: loop.call_soon(callback=note),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(callback=note),
    "call_later": lambda loop: loop.call_later(0, callback=note),
    "call_later, both": lambda loop: loop.call_later(callback=note, delay=0),
    "call_at": lambda loop: loop.call_at(when=loop.time(), callback=note),
}


@pytest.mark.parametrize("what", SCHEDULED)
def test_what_is_scheduled_by_name_is_called(loop: AbstractEventLoop, what: str) -> None:
    CALLED.clear()
    SCHEDULED[what](loop)
    run(loop, asyncio.sleep(0.001))
    assert CALLED == [("none",)]


def test_with_a_context(loop: AbstractEventLoop) -> None:
    CALLED.clear()
    context = copy_context()
    context.run(VARIABLE.set, "own")
    inside: Any = loop
    inside.call_soon(context=context, callback=note)
    inside.call_later(context=context, delay=0, callback=note)
    inside.call_later(0, note, 1, 2, context=context)
    inside.call_soon(callback=note, context=None)
    run(loop, asyncio.sleep(0.001))
    assert sorted(CALLED, key=repr) == [("none",), ("own",), ("own",), (1, 2, "own")]


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown": (
        lambda loop: loop.call_soon(print, end=""),
        r"call_soon\(\) got an unexpected keyword argument 'end'",
    ),
    "twice": (
        lambda loop: loop.call_soon(print, callback=print),
        r"call_soon\(\) got multiple values for argument 'callback'",
    ),
    "missing": (
        lambda loop: loop.call_later(callback=print),
        r"call_later\(\) missing required positional argument: 'delay'",
    ),
    "missing too": (
        lambda loop: loop.call_at(when=1),
        r"call_at\(\) missing required positional argument: 'callback'",
    ),
    "no number": (
        lambda loop: loop.call_later("1", print),
        r"delay must be a number of seconds, not '1'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused(loop: AbstractEventLoop, what: str) -> None:
    call, text = REFUSED[what]
    with pytest.raises(TypeError, match=text):
        call(loop)


@pytest.mark.parametrize("name", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_signatures_are_asyncios(loop: AbstractEventLoop, name: str) -> None:
    ours = inspect.signature(getattr(loop, name))
    theirs = inspect.signature(getattr(AbstractEventLoop, name))
    assert [*ours.parameters] == [each for each in theirs.parameters if each != "self"]


def test_what_is_written_may_be_named(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        protocol, peer = await accepted("inet")
        transport = protocol.transport
        transport.write(data=b"one ")
        transport.writelines(list_of_data=[b"two ", b"three"])
        got = b""

        def grown() -> bool:
            nonlocal got
            try:
                got += peer.recv(100)
            except BlockingIOError:
                pass
            return got == b"one two three"

        await eventually_async(grown)
        for wrong in ({"text": b""}, {"data": b"", "more": b""}):
            with pytest.raises(TypeError, match=r"it takes one argument, 'data', and . were given"):
                transport.write(**wrong)
        with pytest.raises(TypeError, match="and 0 were given"):
            transport.write()
        with pytest.raises(TypeError, match="and 2 were given"):
            transport.write(b"", data=b"")
        transport.abort()
        await eventually_async(lambda: protocol.lost)

    run(loop, main())
    close_peers()


def test_no_other_name_is_taken_for_the_context(loop: AbstractEventLoop) -> None:
    inside: Any = loop
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        for other in (None, copy_context(), 1):
            with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
                inside._add_reader(ours, note, other=other)
            operation = inside.sock_recv(ours, 1)
            with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
                operation.add_done_callback(note, other=other)
            operation.close()
