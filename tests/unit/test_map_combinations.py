"""`map` with several of its options together."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoint.futures import ThreadPoolExecutor

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
        results = pool.map((6).__floordiv__, [1, 2, 0], ordered=False, progress=True)
        came: list[int] = []
        # What is done when the map begins to look comes in no particular order.
        with pytest.raises(ZeroDivisionError):
            came.extend(results)
    assert set(came) <= {6, 3}
    assert f"{len(came)}/3" in capsys.readouterr().err
