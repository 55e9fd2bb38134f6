"""What a queued item costs, beside the stdlib's: the rows of the benchmarks, to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benches.vs.footprint import exact_environment
from tests.support import FREE_THREADED

pytestmark = pytest.mark.skipif(
    FREE_THREADED, reason="a free-threaded build cannot use the allocator that counts"
)


def per_item(library: str, kind: str, count: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "benches.vs.child", "items", library, kind, str(count)],
        env={**os.environ, **exact_environment()},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    each: float = json.loads(done.stdout.splitlines()[-1])["bytes"]
    return each


@pytest.mark.parametrize("count", [100, 1000, 100_000])
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"])
def test_an_item_costs_no_more_than_in_the_stdlib_s(kind: str, count: int) -> None:
    ours, theirs = per_item("counterpoint", kind, count), per_item("stdlib", kind, count)
    # Either process may keep a small object more for other reasons.
    assert 8.0 - 64 / count <= ours <= theirs + 64 / count
