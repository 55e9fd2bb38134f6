"""What cannot cross to a worker process or back, exceptions, and damaged records."""

from __future__ import annotations

import pickle
import random
import sys
import threading
from typing import Any

import pytest

from counterpoint._core import _MAX_FUNCTIONS, _OUT_OF_BAND, _Codec
from tests.unit.codecs import collect, there_and_back, through


class Refuses:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Special(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first, second)


class Holder:
    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


@pytest.mark.parametrize("kind", [pickle.PicklingError, TypeError, AttributeError, ValueError])
def test_the_argument_that_cannot_be_pickled_is_named(kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^no: this is argument 2 of a call of 'collect'$") as raised:
        _Codec().encode_call(collect, ({1}, Refuses(kind("no"))))
    assert type(raised.value) is kind
    assert isinstance(raised.value.__cause__, kind)
    with pytest.raises(kind, match="argument 'key' of a call of 'collect'"):
        _Codec().encode_call(collect, (1,), {"key": Refuses(kind("no"))})


def test_the_part_of_an_argument_is_named() -> None:
    lock = threading.Lock()
    for value, path in (
        (Holder(a=1, inner=Holder(lock=lock)), ".inner.lock"),
        ([1, {"key": (2, lock)}], "[1]['key'][1]"),
        (lambda: lock, ".lock"),
    ):
        with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock'") as raised:
            _Codec().encode_call(collect, (value,))
        assert str(raised.value).endswith(f"argument 1 of a call of 'collect', at {path}")
        with pytest.raises(TypeError) as raised:
            _Codec().encode_result(value)
        assert str(raised.value).endswith(f"this is the result of the task, at {path}")


def test_a_function_that_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"the function of a call of .*, at \.lock$"):
        _Codec().encode_call(lambda: lock)


def test_an_error_of_ones_own_is_raised_as_it_is() -> None:
    own = Special(1, 2)
    with pytest.raises(Special) as raised:
        _Codec().encode_call(collect, (Refuses(own),))
    assert raised.value is own
    # From 3.14 on pickle leaves a note of its own before ours.
    assert own.__notes__[-1] == "(1, 2): this is argument 1 of a call of 'collect'"
    interrupt = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as ended:
        _Codec().encode_result(Refuses(interrupt))
    assert ended.value is interrupt


def test_a_failed_call_leaves_the_interner_usable() -> None:
    codec = _Codec()
    with pytest.raises(ValueError, match="no"):
        codec.encode_call(collect, (Refuses(ValueError("no")),))
    assert through(codec, collect, 1) == ((1,), {})
    assert codec.intern(collect) == 0
    assert codec.definition(1) is None


class Explodes:
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise LookupError("while unpickling")


def test_an_error_of_unpickling_is_raised_by_decoding() -> None:
    codec = _Codec()
    with pytest.raises(LookupError, match="while unpickling"):
        through(codec, collect, Explodes())
    with pytest.raises(LookupError, match="while unpickling"):
        there_and_back(Explodes())


def raised_by(function: Any) -> Any:
    """What a task raises, at this end."""
    codec = _Codec()
    try:
        function()
    except BaseException as error:
        return codec.decode_exception(*codec.encode_exception(error))
    raise AssertionError("it returned")


def raise_value_error() -> None:
    raise ValueError("text")  # a comment in the source


def test_an_exception_brings_its_traceback() -> None:
    from concurrent.futures.process import _RemoteTraceback

    error = raised_by(raise_value_error)
    assert type(error) is ValueError
    assert error.args == ("text",)
    assert error.__traceback__ is None
    assert type(error.__cause__) is _RemoteTraceback
    text = str(error.__cause__)
    assert 'raise ValueError("text")  # a comment in the source' in text
    assert "raise_value_error" in text


class Plain(Exception):
    def __reduce__(self) -> Any:
        return Plain, ()


def test_an_exception_keeps_notes_and_cause() -> None:
    def task() -> None:
        try:
            {}["missing"]  # type: ignore[index]
        except KeyError as error:
            own = Plain()
            own.add_note("a note")
            raise own from error

    error = raised_by(task)
    assert type(error) is Plain
    assert error.__notes__ == ["a note"]
    assert error.__cause__ is not None
    assert error.__cause__.__cause__ is not None
    assert error.__cause__.__cause__.args == ("missing",)


def test_an_exception_group_arrives() -> None:
    def task() -> None:
        raise ExceptionGroup("group", [ValueError(1), TypeError(2)])

    error = raised_by(task)
    assert [type(inner) for inner in error.exceptions] == [ValueError, TypeError]


class Unpicklable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class NotUnpicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")


class NoException(Exception):
    def __reduce__(self) -> Any:
        return int, ()


class Exits(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def raising(error: BaseException) -> Any:
    def task() -> None:
        raise error

    return task


def test_an_exception_that_cannot_be_pickled_is_described() -> None:
    error = raised_by(raising(Unpicklable("text")))
    assert type(error) is TypeError
    assert "Unpicklable: text" in str(error)
    assert "cannot pickle '_thread.lock' object" in str(error)
    assert "in task" in str(error.__cause__)
    error = raised_by(raising(Refuses(SystemExit(1))))  # type: ignore[arg-type]
    assert type(error) is TypeError  # What Python says of raising it.


@pytest.mark.parametrize("error", [NotUnpicklable(1, 2), NoException("text"), Exits("text")])
def test_an_exception_that_cannot_be_unpickled_is_described(error: Exception) -> None:
    arrived = raised_by(raising(error))
    assert type(arrived) is pickle.UnpicklingError
    assert type(error).__name__ in str(arrived)
    assert "in task" in str(arrived.__cause__)


def test_a_cause_that_cannot_be_pickled_costs_only_itself() -> None:
    def task() -> None:
        raise ValueError("text") from Unpicklable("cause")

    error = raised_by(task)
    assert type(error) is ValueError
    assert "cause" in str(error.__cause__)
    assert error.__cause__ is not None
    assert error.__cause__.__cause__ is None


def records(codec: _Codec) -> list[tuple[Any, bytes, list[bytearray]]]:
    values = (1, "text", "日本", b"bytes", [1, (2.5, {"a": None})], bytearray(_OUT_OF_BAND), {1})
    made = [(codec.decode_result, *codec.encode_result(value)) for value in values]
    for args, kwargs in (
        ((1, "a"), {}),
        ((1, "a"), {"key": 2}),
        (({1}, bytes(_OUT_OF_BAND)), {"key": 1}),
    ):
        made.append((codec.decode_call, *codec.encode_call(collect, args, kwargs)))
    made.append((codec.decode_call, *codec.encode_call(lambda: 1, (1,))))
    made.append((codec.decode_exception, *codec.encode_exception(ValueError(1))))
    return made


def test_a_truncated_or_longer_record_is_refused() -> None:
    codec = _Codec()
    for decode, record, buffers in records(codec):
        definition = codec.definition(0)
        assert definition is not None
        codec.define(0, definition)
        decode(record, buffers)
        for end in range(len(record)):
            with pytest.raises(pickle.UnpicklingError, match="damaged"):
                decode(record[:end], buffers)
        with pytest.raises(pickle.UnpicklingError, match="damaged"):
            decode(record + b"\0", buffers)


def unharmed(record: bytes, damaged: bytes | bytearray) -> bool:
    """Whether the stream is as it was: what pickle does with another is not in question here."""
    start = record.find(b"\x80\x05")
    return start < 0 or damaged[start:] == record[start:]


def test_a_damaged_record_raises_and_nothing_worse() -> None:
    codec = _Codec()
    dice = random.Random(20)
    made = records(codec)
    definition = codec.definition(0)
    assert definition is not None
    codec.define(0, definition)
    for _ in range(20_000):
        decode, record, buffers = dice.choice(made)
        damaged = bytearray(record)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(damaged))] = dice.choice(
                [0, 1, 7, 127, 255, dice.randrange(256)]
            )
        if unharmed(record, damaged):
            try:
                decode(bytes(damaged), buffers)
            except (pickle.UnpicklingError, IndexError, TypeError):
                pass


def test_random_bytes_raise_and_nothing_worse() -> None:
    codec = _Codec()
    dice = random.Random(21)
    tags = [*range(13), 32, 33, 64, 65]
    for _ in range(20_000):
        record = bytes(
            [dice.choice(tags), *dice.choices([*tags, 0, 0, 1, 255], k=dice.randrange(40))]
        )
        for decode in (codec.decode_result, codec.decode_call, codec.decode_exception):
            try:
                decode(record, [])
            except (pickle.UnpicklingError, IndexError, TypeError):
                pass


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        b"\x0b\xff\xff",
        b"\x0a\x01\x00" * 5 + b"\x00",
        b"\x08\x03\x01\x00\x00\x00a",
        b"\x08\x04\x01\x00\x00\x00\xff\xff\xff\xff",
        b"\x08\x04\xff\xff\xff\xff",
        b"\x09\xff\xff\xff\xff",
    ],
)
def test_lengths_counts_and_depths_are_checked(record: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="damaged"):
        _Codec().decode_result(record, [])


def test_an_unknown_function_is_refused() -> None:
    codec = _Codec()
    record, buffers = codec.encode_call(collect)
    with pytest.raises(pickle.UnpicklingError, match="a function that was not defined"):
        codec.call(record, buffers)
    with pytest.raises(pickle.UnpicklingError, match="a function beyond the last number"):
        codec.define(_MAX_FUNCTIONS, b"")
