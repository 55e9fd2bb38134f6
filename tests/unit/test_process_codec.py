"""What crosses to a worker process and back: values, calls, functions."""

from __future__ import annotations

import array
import collections
import enum
import functools
import math
import operator
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from counterpoint._core import _MAX_FUNCTIONS, _OUT_OF_BAND, _Codec
from tests.support import result, spawn
from tests.unit.codecs import collect, is_written, there_and_back, through

LARGE = _OUT_OF_BAND


class Color(enum.IntEnum):
    RED = 1


class Text(str):
    pass


class Numbers(list[int]):
    pass


Point = collections.namedtuple("Point", "x y")

WRITTEN = [
    None,
    True,
    False,
    *(
        sign * 2**power + more
        for power in (0, 7, 8, 31, 32, 62)
        for sign in (1, -1)
        for more in (-1, 0, 1)
    ),
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    math.inf,
    5e-324,
    "",
    "a",
    "x" * 255,
    "x" * 256,
    "é" * 255,
    "日本",
    "𝔸" * 300,
    "lone \ud800 surrogate",
    "\x00nul",
    b"",
    b"\x00\xff" * 100,
    (),
    (1, "a", None),
    [],
    [[1, [2, [3]]], (4,)],
    {},
    {"b": 1, "a": {"c": [True, 1, 1.0]}, 3: None, (1, 2): b""},
    [(), (), ()],
    list(range(1000)),
]

PICKLED = [
    2**63,
    -(2**63) - 1,
    2**1000,
    Color.RED,
    Text("a"),
    Numbers([1]),
    Point(1, 2),
    collections.OrderedDict(a=1),
    {1, 2},
    frozenset([1]),
    bytearray(b"small"),
    range(3),
    1j,
    [[[[[1]]]]],
    "x" * 20_000,
    list(range(20_000)),
    [[] for _ in range(100)],
    [Text("a")],
    {Text("a"): 1},
    {"a": Color.RED},
    array.array("d", [1.0]),
    len,
    int,
    functools.partial(int, base=2),
]


def same(left: Any, right: Any) -> bool:
    """Equal, and of identical type all through."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, dict):
        return all(map(same, left.items(), right.items())) and len(left) == len(right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, functools.partial):
        return same(left.__reduce__()[2], right.__reduce__()[2])
    return bool(left == right)


@pytest.mark.parametrize("value", WRITTEN, ids=lambda value: repr(value)[:30])
def test_a_small_builtin_value_is_written_by_hand(value: Any) -> None:
    assert is_written(value)
    assert same(there_and_back(value), value)


@pytest.mark.parametrize("value", PICKLED, ids=lambda value: repr(value)[:30])
def test_everything_else_is_pickled(value: Any) -> None:
    assert not is_written(value)
    assert same(there_and_back(value), value)


def test_nan_keeps_its_bits() -> None:
    for bits in (0x7FF8000000000001, 0xFFF8000000000000, 0x7FF800DEADBEEF00):
        (number,) = struct.unpack("<d", struct.pack("<Q", bits))
        assert struct.pack("<d", there_and_back(number)) == struct.pack("<Q", bits)


def test_the_order_of_a_dict_is_kept() -> None:
    keys = [f"key {at}" for at in range(200)]
    random.Random(1).shuffle(keys)
    assert list(there_and_back(dict.fromkeys(keys))) == keys


def test_what_is_shared_stays_shared() -> None:
    inner: list[int] = [1]
    value = {"a": inner, "b": [inner]}
    assert not is_written(value)
    back = there_and_back(value)
    assert back["a"] is back["b"][0]
    row = (1, 2)
    first, second = there_and_back([row, row])
    assert first is second
    cycle: list[Any] = []
    cycle.append(cycle)
    back = there_and_back(cycle)
    assert back[0] is back


def test_what_arguments_share_stays_shared() -> None:
    codec = _Codec()
    shared: list[int] = []
    (first, second), keywords = through(codec, collect, shared, [shared], third=shared)
    assert first is second[0]
    assert first is keywords["third"]
    large = bytearray(LARGE)
    (first, second), _ = through(codec, collect, large, large)
    assert first is second


def test_recursion_is_bounded() -> None:
    value: Any = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(RecursionError):
        _Codec().encode_result(value)
    while value:
        value = value.pop()


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_large_bytes_travel_beside_the_record(kind: Any) -> None:
    codec = _Codec()
    value = kind(os.urandom(LARGE))
    record, buffers = codec.encode_result(value)
    assert len(record) < 10
    assert [len(buffer) for buffer in buffers] == [LARGE]
    assert same(codec.decode_result(record, buffers), value)
    assert codec.encode_result(kind(LARGE // 2))[1] == []
    record, buffers = codec.encode_call(collect, (1, value, {2}), {"key": value})
    assert len(record) < 200
    assert same(
        through(codec, collect, 1, value, {2}, key=value), ((1, value, {2}), {"key": value})
    )
    # Pickled or not, with another's content or not.
    assert same(through(codec, collect, value, 1), ((value, 1), {}))


def test_large_buffers_of_a_pickle_travel_beside_it() -> None:
    codec = _Codec()
    large, small = bytearray(os.urandom(LARGE + 1)), bytearray(b"small")
    value = [pickle.PickleBuffer(large), pickle.PickleBuffer(small)]
    record, buffers = codec.encode_result(value)
    assert len(record) < 200
    assert buffers == [large]
    back = codec.decode_result(record, buffers)
    assert back == [large, small]
    assert back[0] is buffers[0]
    back = through(codec, collect, large, value)
    assert back == ((large, [large, small]), {})


def test_a_buffer_that_is_not_contiguous_is_refused_as_pickle_does() -> None:
    view = memoryview(bytearray(4 * LARGE))[::2]
    with pytest.raises(pickle.PicklingError, match="non-contiguous"):
        _Codec().encode_result([pickle.PickleBuffer(view)])


def test_a_large_pickle_travels_beside_the_record() -> None:
    codec = _Codec()
    value = [{at} for at in range(50_000)]
    record, buffers = codec.encode_result(value)
    assert len(record) < 100
    assert len(buffers) == 1
    assert codec.decode_result(record, buffers) == value


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((1, "a", None, 2.5), {}),
        (tuple(range(5)), {}),
        (tuple(range(255)), {}),
        (tuple(range(256)), {}),
        ((), {"a": 1}),
        ((1, 2), {"a": 1, "ü": [2]}),
        (({1},), {}),
        (({1}, 2), {"a": {3}}),
        (tuple(range(300)), {"a": 3}),
        ((), {f"key{at}": at for at in range(300)}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_calls(args: Any, kwargs: Any) -> None:
    codec = _Codec()
    assert same(through(codec, collect, *args, **kwargs), (args, kwargs))
    assert same(
        through(codec, lambda *args, **kwargs: (args, kwargs), *args, **kwargs), (args, kwargs)
    )


def test_a_call_that_fails_leaves_no_references() -> None:
    codec = _Codec()
    marks = [object() for _ in range(3)]
    before = [sys.getrefcount(mark) for mark in marks]
    for _ in range(10):
        try:
            codec.encode_call(collect, (marks[0], [marks[1]], threading.Lock()), {"a": marks[2]})
        except TypeError:
            codec.encode_result(marks)
    assert [sys.getrefcount(mark) for mark in marks] == before


class Worker:
    kind = "worker"

    def method(self, value: int) -> int:
        return value + 1

    @classmethod
    def build(cls) -> str:
        return cls.kind

    @staticmethod
    def double(value: int) -> int:
        return 2 * value


@pytest.mark.parametrize("function", [collect, len, math.sqrt, int, Worker, Worker.double])
def test_a_function_with_a_name_gets_a_number(function: Any) -> None:
    codec = _Codec()
    number = codec.intern(function)
    assert number == 0
    assert codec.intern(function) == number
    definition = codec.definition(number)
    assert definition is not None
    codec.define(number, definition)
    assert codec.decode_call(*codec.encode_call(function))[0] is function
    assert codec.definition(1) is None


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda value: value + 1, 3),
        (Worker().method, 3),
        (functools.partial(operator.add, 3), 5),
        ([1, 2, 3].__getitem__, 3),
        (operator.itemgetter(slice(1)), None),
    ],
    ids=["lambda", "method", "partial", "builtin method", "callable object"],
)
def test_other_functions_are_sent_with_each_call(function: Any, expected: Any) -> None:
    codec = _Codec()
    assert codec.intern(function) is None
    if expected is not None:
        assert through(codec, function, 2) == expected
    assert codec.definition(0) is None


def test_closures_are_sent_as_they_are_at_the_call() -> None:
    codec = _Codec()
    count = 0

    def current() -> int:
        return count

    assert through(codec, current) == 0
    count = 5
    assert through(codec, current) == 5


def test_class_methods_are_callable_at_the_other_end() -> None:
    assert through(_Codec(), Worker.build) == "worker"
    assert through(_Codec(), dict.fromkeys, "ab", 1) == {"a": 1, "b": 1}


def test_a_local_class_arrives() -> None:
    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

    (back,), _ = through(_Codec(), collect, Local(3))
    assert back.value == 3
    assert type(back) is Local


def test_the_interner_is_bounded() -> None:
    codec = _Codec()
    module = sys.modules[__name__]
    functions = []
    for at in range(_MAX_FUNCTIONS + 5):
        name = f"made_{at}"
        made = type(name, (), {"__module__": __name__})
        setattr(module, name, made)
        functions.append(made)
    try:
        numbers = [codec.intern(made) for made in functions]
        assert numbers == [*range(_MAX_FUNCTIONS), *[None] * 5]
        back, args, _ = codec.decode_call(*codec.encode_call(functions[-1], (1,)))
        assert back is functions[-1]
        assert args == (1,)
    finally:
        for made in functions:
            delattr(module, made.__name__)


def test_a_function_that_is_not_its_name_gets_no_number() -> None:
    codec = _Codec()
    hidden = type("collect", (), {"__module__": __name__})
    assert codec.intern(hidden) is None
    assert codec.definition(0) is None


def test_a_function_that_cannot_be_imported_fails_its_calls() -> None:
    codec = _Codec()
    record, buffers = codec.encode_call(collect, (1,))
    codec.define(0, b"cno_such_module\nname\n.")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            codec.call(record, buffers)


def test_what_another_thread_changes_meanwhile_is_sent_whole() -> None:
    codec = _Codec()
    numbers: list[int] = [0] * 50
    words: dict[str, int] = {}
    ended = threading.Event()

    def change() -> None:
        at = 0
        while not ended.is_set():
            at += 1
            numbers.append(at)
            words[f"{at % 100}"] = at
            if at % 7 == 0:
                del numbers[50:]
                words.clear()

    thread = spawn(change)
    try:
        for _ in range(3000):
            (back, other), _ = through(codec, collect, numbers, words)
            assert back[:50] == [0] * 50
            assert all(int(key) == value % 100 for key, value in other.items())
    finally:
        ended.set()
        result(thread)


def test_threads_that_intern_together_agree() -> None:
    functions = [value for value in vars(operator).values() if type(value) is type(operator.add)]
    for _ in range(20):
        codec = _Codec()
        start = threading.Barrier(4)

        def work(codec: _Codec = codec, start: threading.Barrier = start) -> list[int | None]:
            start.wait()
            return [codec.intern(function) for function in functions]

        numbers = [result(future) for future in [spawn(work) for _ in range(4)]]
        assert numbers == [numbers[0]] * 4
        assert len(set(numbers[0])) == len(set(functions))


def test_what_multiprocessing_knows_how_to_send_is_sent_so() -> None:
    from multiprocessing import reduction

    class Known:
        pass

    reduction.register(Known, lambda known: (int, ("7",)))
    try:
        assert there_and_back([Known()]) == [7]
    finally:
        del reduction.ForkingPickler._extra_reducers[Known]  # type: ignore[attr-defined]


PROGRAM = """
import pickle, sys
from counterpoint._core import _Codec

class Point:
    def __init__(self, x): self.x = x

def double(value): return 2 * value

codec = _Codec()
print(codec.intern(double), codec.intern(Point))
record, buffers = codec.encode_call(double, (Point(3),))
print(b"double" in record, len(record) > 200)
sys.stdout.flush()
"""


def run(*command: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=50, check=True
    )
    return done.stdout.split()


def test_a_main_that_workers_can_import_is_sent_by_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(str(program)) == ["0", "1", "False", "False"]


def test_a_main_that_workers_cannot_import_is_sent_by_value() -> None:
    assert run("-c", PROGRAM) == ["None", "None", "True", "True"]
