"""`map` with several of its options together."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from counterpoint.futures import ThreadPoolExecutor
from tests.support import DEADLINE

ITEMS = range(-20, 0)


@pytest.mark.parametrize("buffersize", [None, 3], ids=["whole", "buffered"])
@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "as-they-come"])
@pytest.mark.parametrize("timeout", [None, 30], ids=["", "timeout"])
def test_the_bar_counts_every_result(
    ordered: bool, buffersize: int | None, timeout: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"ordered": ordered, "buffersize": buffersize, "timeout": timeout}
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(abs, ITEMS, progress=True, **options))
    assert sorted(results) == list(range(1, 21))
    if ordered:
        assert results == [abs(item) for item in ITEMS]
    assert "20/20" in capsys.readouterr().err


def test_a_bar_of_an_unordered_map_ends_with_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        # What is done when the map looks comes in no particular order: each waits for its turn.
        turn = threading.Semaphore(0)

        def divide(by: int) -> int:
            assert turn.acquire(timeout=DEADLINE)
            return 6 // by

        results = pool.map(divide, [1, 2, 0], ordered=False, progress=True)
        for expected in (6, 3):
            turn.release()
            assert next(results) == expected
        turn.release()
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert "2/3" in capsys.readouterr().err
