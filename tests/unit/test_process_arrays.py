"""Buffers that pickle passes out of band: of a plain class, of NumPy and of Arrow."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint.futures import share
from tests.processes import ProcessPoolExecutor, identity
from tests.support import DEADLINE
from tests.unit.buffers import LARGE, Plain, mapping_of


def overwrite(value: Plain, number: int) -> tuple[bool, set[int]]:
    before = value.numbers()
    value.fill(number)
    return value.is_mapped, before


_kept: list[Plain] = []


def keep(number: int) -> Plain:
    """A result that its worker has as well."""
    _kept[:] = [Plain(bytearray([number]) * LARGE)]
    return _kept[0]


def kept() -> Plain:
    return _kept[0]


def test_what_a_task_writes_into_its_argument_nobody_else_sees(pool: ProcessPoolExecutor) -> None:
    value = Plain(bytearray(LARGE))
    futures = [pool.submit(overwrite, value, number) for number in (1, 2, 3, 4)]
    assert [future.result(DEADLINE) for future in futures] == [(True, {0})] * 4
    assert value.numbers() == {0}


def test_what_is_written_into_a_result_its_worker_does_not_see() -> None:
    with ProcessPoolExecutor(1) as pool:
        first = pool.submit(keep, 5).result(DEADLINE)
        assert first.is_mapped
        first.fill(6)
        again = pool.submit(kept).result(DEADLINE)
        assert (first.numbers(), again.numbers()) == ({6}, {5})
    # It is there when the worker is not.
    del pool
    gc.collect()
    assert (first.numbers(), again.numbers()) == ({6}, {5})


def test_what_is_written_into_an_item_of_a_queue_is_the_receivers() -> None:
    queue, value = multiprocessing.Queue(), Plain(bytearray(LARGE))
    queue.put(value)
    queue.put(value)
    first, second = queue.get(), queue.get()
    first.fill(7)
    assert first.is_mapped
    assert (first.numbers(), second.numbers(), value.numbers()) == ({7}, {0}, {0})


def add_up(table: Any) -> tuple[int, str]:
    column = table["n"].chunk(0)
    return int(sum(column.to_numpy())), mapping_of(column.buffers()[1].address)


@pytest.mark.parametrize("shared", [False, True])
def test_arrow_is_mapped_and_not_copied(pool: ProcessPoolExecutor, shared: bool) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow has no wheels for this Python")
    table = arrow.table({"n": range(LARGE // 8)})
    total, mapping = pool.submit(add_up, share(table) if shared else table).result(DEADLINE)
    assert total == sum(range(LARGE // 8))
    assert "counterpoint" in mapping
    back = pool.submit(identity, table).result(DEADLINE)
    assert back == table
    assert "counterpoint" in mapping_of(back["n"].chunk(0).buffers()[1].address)


def describe(array: Any) -> tuple[int, str]:
    return int(array.sum()), mapping_of(array.__array_interface__["data"][0])


@pytest.mark.parametrize("shared", [False, True])
def test_numpy_is_mapped_and_not_copied(pool: ProcessPoolExecutor, shared: bool) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy has no wheels for this Python")
    array = numpy.arange(LARGE // 8)
    given = share(array) if shared else array
    total, mapping = pool.submit(describe, given).result(DEADLINE)
    assert total == sum(range(LARGE // 8))
    assert "counterpoint" in mapping
    back = pool.submit(identity, array).result(DEADLINE)
    back += 1
    assert "counterpoint" in describe(back)[1]
    assert (back == array + 1).all()
