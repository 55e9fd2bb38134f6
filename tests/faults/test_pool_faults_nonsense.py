"""A worker that writes nonsense into the memory that it shares with its parent loses its task."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct

import pytest

from counterpoint._process.errors import WorkerCrashed
from tests.processes import Meeting, ProcessPoolExecutor, square, stay
from tests.support import DEADLINE

pytestmark = [pytest.mark.timeout(40), pytest.mark.usefixtures("nothing_left")]

# Of the lane, as `counterpoint-shm` lays it out: how far the worker has published, the bytes of
# what it has, and what heads a record: its length, kind, flags, and entry + 1.
PUBLISHED, RESULTS, LENGTH = 384, 8192 + (256 << 10), 256 << 10
HEAD = struct.Struct("IBBH")

RESULT, ERROR, UNFIT, NO_KIND = 16, 17, 19, 200
AN_ERROR = bytes.fromhex("80055d2e")

Record = tuple[int, int, bytes]


def descriptors(kind: str) -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if kind in os.readlink(f"/proc/self/fd/{name}"):
                found.append(int(name))
        except OSError:
            continue  # it was the directory's own
    return found


def publish(records: list[Record], longer: int = 0, further: int = 0) -> None:
    """A task that publishes records behind the back of its worker's loop, and goes on for ever."""
    (lane,) = descriptors("counterpoint-lane")
    with mmap.mmap(lane, 0) as memory:
        (at,) = struct.unpack_from("Q", memory, PUBLISHED)
        for kind, entry, content in records:
            start = RESULTS + at % LENGTH + HEAD.size
            HEAD.pack_into(memory, start - HEAD.size, len(content) + longer, kind, 0, entry)
            memory[start : start + len(content)] = content
            at += HEAD.size + (len(content) + 7) // 8 * 8
        struct.pack_into("Q", memory, PUBLISHED, at + further)
    for event in descriptors("[eventfd]"):
        os.write(event, struct.pack("Q", 1))
    while True:
        signal.pause()


def publish_at_random(seed: int) -> None:
    """The same; the last record is one that no worker publishes."""
    chance = random.Random(seed)
    kinds = range(14, 24)
    records = [
        (chance.choice(kinds), chance.choice((0, 0, 1, 2)), chance.randbytes(chance.randrange(60)))
        for _ in range(chance.randrange(4))
    ]
    publish([*records, (NO_KIND, 0, b"")])


NONSENSE = {
    "a kind that there is not": ([(NO_KIND, 0, b"content")],),
    "a result of a task that there is not": ([(RESULT, 256 + 1, b"content")],),
    "a result that is none": ([(RESULT, 1, b"\xff" * 40)],),
    "an empty error": ([(ERROR, 1, b"")],),
    "a length beyond what was published": ([(RESULT, 1, b"content")], 1 << 20),
    "more than there can be": ([(RESULT, 1, b"content")], 0, 1 << 40),
    "less than there was": ([], 0, -8),
    "a failure to set up what is set up": ([(UNFIT, 0, AN_ERROR)],),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_the_task_fails_and_the_pool_goes_on(name: str, meeting: Meeting) -> None:
    with ProcessPoolExecutor(2) as pool:
        neighbour = pool.submit(stay, meeting, "neighbour")
        meeting.arrived()
        victim = pool.submit(publish, *NONSENSE[name])
        behind = [pool.submit(square, number) for number in range(50)]
        assert isinstance(victim.exception(DEADLINE), WorkerCrashed)
        meeting.let_go()
        assert neighbour.result(DEADLINE) == "neighbour"
        assert [future.result(DEADLINE) for future in behind] == [n * n for n in range(50)]


def test_whatever_the_nonsense() -> None:
    with ProcessPoolExecutor(1) as pool:
        for seed in range(40):
            victim = pool.submit(publish_at_random, seed)
            behind = pool.submit(square, seed)
            assert victim.exception(DEADLINE) is not None
            assert behind.result(DEADLINE) == seed * seed
