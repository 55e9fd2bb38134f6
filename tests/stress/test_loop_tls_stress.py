"""TLS connections that carry data of random sizes both ways, are paused, and break off anywhere."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint._loop import tls
from tests.support import eventually_async
from tests.unit.secure import VERSIONS, Buffered, Ends, Plain

# What each side sends, over and over; no number of records is as long as a number of these.
PATTERN = random.Random(7).randbytes(65_521)

CONNECTIONS = 60


def stretch(begin: int, size: int) -> bytes:
    """What is sent at this place."""
    begin %= len(PATTERN)
    return (PATTERN[begin:] + PATTERN * (size // len(PATTERN) + 1))[:size]


class Side:
    """Checks what comes, is slow at it, and sends."""

    chance: random.Random
    transport: Any
    events: list[str]

    def prepare(self, seed: int) -> Any:
        self.chance = random.Random(seed)
        self.received = self.sent = 0
        self.may_write = asyncio.Event()
        self.may_write.set()
        return self

    def take(self, data: bytes) -> None:
        assert data == stretch(self.received, len(data))
        self.received += len(data)
        if self.chance.random() < 0.2:
            self.transport.pause_reading()
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.transport.resume_reading)

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.may_write.set()
        super().connection_lost(exc)  # type: ignore[misc]

    async def send(self, count: int) -> None:
        for _ in range(count):
            await self.may_write.wait()
            size = int(10 ** self.chance.uniform(0, 5.5))
            data = stretch(self.sent, size)
            self.sent += size
            if self.chance.random() < 0.1:
                self.transport.writelines([bytearray(data[:99]), memoryview(data)[99:]])
            else:
                self.transport.write(data)
            if self.chance.random() < 0.3:
                await asyncio.sleep(0)


class PlainSide(Side, Plain):
    def data_received(self, data: bytes) -> None:
        self.take(data)


class BufferedSide(Side, Buffered):
    def __init__(self, size: int) -> None:
        super().__init__(size)

    def buffer_updated(self, nbytes: int) -> None:
        self.take(bytes(self.buffer[:nbytes]))


def a_side(chance: random.Random) -> Any:
    made = PlainSide() if chance.random() < 0.5 else BufferedSide(chance.choice([500, 70_000]))
    return made.prepare(chance.randrange(1 << 30))


def shut_down(transport: Any) -> None:
    transport.get_extra_info("socket")._sock.shutdown(socket.SHUT_RDWR)


def spoil(transport: Any) -> None:
    try:
        transport.get_extra_info("socket")._sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    except BlockingIOError:
        transport.abort()


BREAKS: list[Callable[[Any], object] | None] = [
    None,
    lambda transport: transport.abort(),
    lambda transport: transport.close(),
    shut_down,
    spoil,
]


async def converse(ends: Ends, chance: random.Random, version: str) -> None:
    """One connection, from its beginning to its end."""
    one, other = a_side(chance), a_side(chance)
    await ends.connect(one, other, version)
    break_off = chance.choice(BREAKS)
    sending = [asyncio.create_task(side.send(chance.randrange(1, 40))) for side in (one, other)]
    if break_off is not None:
        for _ in range(chance.randrange(100)):
            await asyncio.sleep(0)
        break_off(one.transport)
        await asyncio.gather(*sending)
        other.transport.abort()
    else:
        await asyncio.gather(*sending)
        await eventually_async(lambda: (one.received, other.received) == (other.sent, one.sent))
        one.transport.close()
    await one.ended()
    await other.ended()
    assert len(one.lost) == len(other.lost) == 1
    assert one.received <= other.sent
    assert other.received <= one.sent


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("native", [True, False], ids=["native", "asyncio"])
@pytest.mark.parametrize("version", VERSIONS)
def test_conversations(version: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "NATIVE", native)
    ends = Ends()

    async def main() -> None:
        chance = random.Random(int(version[-1]))
        for _ in range(CONNECTIONS // 6):
            await asyncio.gather(*(converse(ends, chance, version) for _ in range(6)))

    ends.run(main())
    ends.close()
    errors = [context.get("exception") for context in ends.contexts]
    assert [error for error in errors if not isinstance(error, OSError)] == []
