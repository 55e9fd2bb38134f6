"""What a program written for the newest standard library passes is taken, in the same places."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from counterpoint.futures import ProcessPoolExecutor

PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD
FIRST = inspect.Parameter.POSITIONAL_ONLY
KEYWORD = inspect.Parameter.KEYWORD_ONLY
REST = inspect.Parameter.VAR_POSITIONAL
KEYWORDS = inspect.Parameter.VAR_KEYWORD
NONE = inspect.Parameter.empty

# CPython 3.14's and 3.15's, after self: names, kinds and defaults.
EXPECTED: dict[Callable[..., Any], list[tuple[str, Any, Any]]] = {
    ProcessPoolExecutor.__init__: [
        ("max_workers", PLAIN, None),
        ("mp_context", PLAIN, None),
        ("initializer", PLAIN, None),
        ("initargs", PLAIN, ()),
        ("max_tasks_per_child", KEYWORD, None),
    ],
    ProcessPoolExecutor.submit: [
        ("fn", FIRST, NONE),
        ("args", REST, NONE),
        ("kwargs", KEYWORDS, NONE),
    ],
    ProcessPoolExecutor.map: [
        ("fn", PLAIN, NONE),
        ("iterables", REST, NONE),
        ("timeout", KEYWORD, None),
        ("chunksize", KEYWORD, "auto"),  # 1 in the standard library: a deviation
        ("buffersize", KEYWORD, None),
    ],
    ProcessPoolExecutor.shutdown: [
        ("wait", PLAIN, True),
        ("cancel_futures", KEYWORD, False),
    ],
    ProcessPoolExecutor.terminate_workers: [],
    ProcessPoolExecutor.kill_workers: [],
}


@pytest.mark.parametrize("method", EXPECTED, ids=lambda method: method.__name__)
def test_parameters_begin_with_the_newest_standard_librarys(method: Callable[..., Any]) -> None:
    _, *parameters = inspect.signature(method).parameters.values()
    expected = EXPECTED[method]
    found = [(each.name, each.kind, each.default) for each in parameters]
    assert found[: len(expected)] == expected
    # What comes beyond is never needed, and never in the way of a positional argument.
    for each in parameters[len(expected) :]:
        assert each.kind is KEYWORD
        assert each.default is not NONE
