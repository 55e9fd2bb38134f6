"""What a queue between processes pickles, and what not: bytes never, the bytes of arrays never."""

from __future__ import annotations

import os

import pytest

from tests.support import succeeds

PATHS = (os.getcwd(), os.path.join(os.getcwd(), "python"))

# Replaced before the native half looks it up, which it does once.
COUNTED = """
import sys
sys.path[:0] = sys.argv[1:]
from counterpoint._process import pickling

streams, real = [], pickling.dumps

def dumps(value):
    stream, views = real(value)
    streams.append((len(stream), [view.nbytes for view in views]))
    return stream, views

pickling.dumps = dumps
from counterpoint import multiprocessing
from tests.unit.buffers import Plain

queue = multiprocessing.Queue()
LARGE = 5_000_000
"""

BYTES = """
for size in (0, 1, 1000, 16_383, 16_384, 20_000, 65_535, 65_536, LARGE):
    for value in (bytes(size), "x" * min(size, 1000), size, None, (b"y", 5), {"k": [1.5]}):
        queue.put(value)
        assert queue.get() == value
    queue.put_many([bytes(size)] * 3)
    assert queue.get_many(3) == [bytes(size)] * 3
queue.put(bytearray(LARGE))
assert queue.get() == bytearray(LARGE)
assert streams == [], streams
# What does take a pickle is seen.
queue.put({1, 2})
assert queue.get() == {1, 2}
assert len(streams) == 1
"""

ARRAYS = """
for turn in range(3):
    queue.put(Plain(bytearray(LARGE)))
    got = queue.get()
    # Mapped: no copy of what pickle would have made of it.
    assert got.is_mapped
    assert bytes(got.content) == bytes(LARGE)
    length, views = streams.pop()
    assert (streams, views, Plain.reduced) == ([], [LARGE], turn + 1)
    assert length < 200, length
"""

NUMPY = """
import numpy
queue.put(numpy.zeros(LARGE, "u1"))
assert not queue.get().any()
[(length, views)] = streams
assert views == [LARGE] and length < 400, (length, views)
"""


@pytest.mark.parametrize("program", [BYTES, ARRAYS], ids=["bytes", "arrays"])
def test_the_pickler_is_not_asked(program: str) -> None:
    succeeds(COUNTED + program, *PATHS)


def test_nor_for_what_is_in_an_array_of_numpy() -> None:
    pytest.importorskip("numpy", reason="numpy has no wheels for this Python")
    succeeds(COUNTED + NUMPY, *PATHS)
