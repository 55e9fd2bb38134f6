"""How `map` chooses the sizes of its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoint._process import chunks
from counterpoint._process.chunks import Feed, Timed, even_size, growing, prompt
from counterpoint.futures import Future

QUICK, SLOW = 1e-6, 1.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes as the test says."""
    made = SimpleNamespace(now=0.0)
    times = SimpleNamespace(monotonic=lambda: made.now, perf_counter=lambda: made.now)
    monkeypatch.setattr(chunks, "time", times)
    return made


class Submitter:
    """A pool with so many workers that does nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.sent += args
        return Future()


def sizes(submitter: Submitter) -> list[int]:
    return [len(chunk) for chunk in submitter.sent]


def feed(submitter: Submitter, buffersize: int, items: Iterator[Any] | None = None) -> Feed:
    call = Timed(lambda chunk: list(chunk))
    return Feed(submitter, call, count() if items is None else items, buffersize, workers=2)


@pytest.mark.parametrize(
    ("length", "workers", "size"),
    [(0, 2, 1), (31, 2, 1), (64, 2, 2), (1000, 2, 31), (1000, 64, 1), (10**6, 2, 2048)],
)
def test_each_worker_gets_sixteen_chunks_of_what_has_a_length(
    length: int, workers: int, size: int
) -> None:
    assert even_size(length, workers) == size


def test_chunks_grow_with_what_came_before(clock: SimpleNamespace) -> None:
    made = list(growing(iter(range(100_000)), workers=2))
    assert [item for chunk in made for item in chunk] == list(range(100_000))
    assert [len(chunk) for chunk in made[:32]] == [1] * 32
    before = 0
    for chunk in made:
        assert len(chunk) <= even_size(before, 2)
        before += len(chunk)
    assert len(made) < 400


def test_no_item_waits_long_for_others(clock: SimpleNamespace) -> None:
    def items(seconds: float) -> Iterator[int]:
        for number in count():
            clock.now += seconds
            yield number

    assert prompt(items(QUICK), 100) == tuple(range(100))
    # The next is looked for once more, after the first took its time to come.
    assert prompt(items(SLOW), 100) == (0,)
    assert 2 <= len(prompt(items(0.0002), 100)) <= 20
    assert prompt(iter(()), 100) == ()


def test_a_buffer_is_never_more_than_full(clock: SimpleNamespace) -> None:
    for buffersize in (1, 2, 7, 100, 10_000):
        submitter = Submitter()
        fed = feed(submitter, buffersize)
        waiting = fed.begin()
        assert sum(sizes(submitter)) == min(buffersize, 32)
        taken = 0
        for turn in range(2000):
            future = waiting.pop(0)
            size = sizes(submitter)[turn]
            taken += size
            waiting += fed(future)
            assert waiting
            assert sum(sizes(submitter)) <= taken + buffersize
            fed.learn((QUICK, [None] * size))
        # A quarter of a worker's part at most.
        assert max(sizes(submitter)) == max(1, min(2048, buffersize // 8))
        assert [item for chunk in submitter.sent for item in chunk] == list(
            range(sum(sizes(submitter)))
        )


def test_chunks_last_as_long_as_they_should(clock: SimpleNamespace) -> None:
    submitter = Submitter()
    fed = feed(submitter, 10_000)
    waiting = fed.begin()

    def take(seconds: float) -> int:
        """Take one chunk, whose items lasted so long; the size of the last that follows."""
        future = waiting.pop(0)
        size = sizes(submitter)[-len(waiting) - 1]
        waiting.extend(fed(future))
        fed.learn((seconds * size, [None] * size))
        return sizes(submitter)[-1]

    # Not at once, as one quick chunk says little.
    assert [take(QUICK) for _ in range(4)] == [1, 2, 4, 8]
    for _ in range(100):
        take(QUICK)
    assert take(QUICK) == 1250
    # Items of a tenth of a millisecond: forty are worth a chunk.
    while waiting:
        last = take(1e-4)
        if last == 40:
            break
    assert last == 40
    # What takes long goes one by one, from the next on.
    take(SLOW)
    assert islice_of(fed, waiting, submitter) == 1


def islice_of(fed: Feed, waiting: list[Future[Any]], submitter: Submitter) -> int:
    """The size of the next chunk that there is room for."""
    sent = len(submitter.sent)
    while len(submitter.sent) == sent:
        waiting.extend(fed(waiting.pop(0)))
    return len(submitter.sent[sent])


def test_an_end_is_an_end(clock: SimpleNamespace) -> None:
    submitter = Submitter()
    fed = feed(submitter, 10, iter(range(12)))
    waiting = fed.begin()
    while waiting:
        waiting.extend(fed(waiting.pop(0)))
    assert [*islice((item for chunk in submitter.sent for item in chunk), 20)] == list(range(12))


def test_what_a_chunk_took_comes_with_it(clock: SimpleNamespace) -> None:
    def work(items: tuple[int, ...]) -> list[int]:
        clock.now += 0.25 * len(items)
        return [-item for item in items]

    assert Timed(work)((1, 2)) == (0.5, [-1, -2])
