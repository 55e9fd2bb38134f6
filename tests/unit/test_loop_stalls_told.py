"""How a stall is told of: in the log, and by the name of what blocks."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from counterpoint._loop.statistics import Stall
from counterpoint.aio import EventLoop, new_event_loop
from tests.support import eventually
from tests.unit.blocking import THRESHOLD, functions, run_once, stalls
from tests.unit.secure import Ends, Plain


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = new_event_loop()
    yield loop
    loop.close()


def told(caplog: pytest.LogCaptureFixture, what: str) -> list[logging.LogRecord]:
    """What is logged of that; on a busy machine more may be."""
    return [record for record in caplog.records if what in record.getMessage()]


def test_it_is_logged_once(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    def blocks() -> None:
        eventually(lambda: told(caplog, "blocks"))
        threading.Event().wait(5 * THRESHOLD)  # in which a second report must not come

    loop.watch(THRESHOLD)
    with caplog.at_level(logging.WARNING, "counterpoint"):
        loop.call_soon(blocks)
        run_once(loop)
        eventually(lambda: all(stall.ended for stall in stalls(loop)))
    (record,) = told(caplog, "blocks")
    assert record.name == "counterpoint"
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert re.match(r"The event loop has been blocked for \d+\.\d{3} seconds", text)
    assert f'  File "{__file__}", line ' in text


def test_a_line_that_is_repeated_is_shown_a_few_times(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            eventually(lambda: told(caplog, "deep"))

    loop.watch(THRESHOLD)
    with caplog.at_level(logging.WARNING, "counterpoint"):
        loop.call_soon(deep, 100)
        run_once(loop)
    text = told(caplog, "deep")[0].getMessage()
    assert len(text.splitlines()) < 20
    assert "\n  [Previous line repeated 97 more times]\n" in text
    assert max(len(stall.stack) for stall in stalls(loop)) > 100


class Slow(Plain):
    """Blocks in that callback."""

    def __init__(self, loop: EventLoop, where: str) -> None:
        super().__init__()
        self.loop, self.where = loop, where

    def _block(self, where: str) -> None:
        if where == self.where:
            eventually(lambda: self.told())  # another, as of a handshake, may have been before

    def told(self) -> list[Stall]:
        return [
            each for each in stalls(self.loop) if any("Slow." in name for name in functions(each))
        ]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._block("connection_made")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._block("data_received")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._block("connection_lost")
        super().connection_lost(exc)


@pytest.mark.parametrize("where", ["connection_made", "data_received", "connection_lost"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_protocol_is_named_wherever_it_blocks(where: str, secure: bool) -> None:
    ends = Ends()
    theirs, ours = Slow(ends.loop, where), Plain()

    async def main() -> None:
        if secure:
            await ends.connect(theirs, ours)
        else:
            port = await ends.serve(theirs, None)
            await ends.loop.create_connection(lambda: ours, "127.0.0.1", port)
        ours.transport.write(b"data")
        await theirs.got(4)
        ours.transport.close()
        await theirs.ended()

    ends.loop.watch(THRESHOLD, log=False)
    ends.run(main())
    assert theirs.told()
    for stall in theirs.told():
        # Over TLS the end is a callback of its own.
        assert stall.callback.removesuffix(".connection_lost()").endswith("Slow")
    ends.close()


def test_a_function_in_c_has_no_stack(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    held = threading.Lock()
    held.acquire()

    def release() -> None:
        eventually(lambda: told(caplog, "lock.acquire()"))
        held.release()

    loop.watch(THRESHOLD)
    releasing = threading.Thread(target=release)
    with caplog.at_level(logging.WARNING, "counterpoint"):
        releasing.start()
        loop.call_soon(held.acquire)
        run_once(loop)
        releasing.join()
    assert told(caplog, "lock.acquire()")[0].getMessage().endswith(" by lock.acquire()")
