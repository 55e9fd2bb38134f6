"""CPython's asyncio modules pass on the loop under test wherever they do on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests import loops
from tests.conformance import counts, deviations
from tests.conformance.binding import chosen_target
from tests.conformance.loop_modules import BY_NAME, MODULES, Module, absence, missed
from tests.conformance.loop_runs import Outcomes, run

Runs = dict[str, "Future[Outcomes]"]

# Modules at a time: most of what they take is waiting.
AT_ONCE = 4


def parameters() -> list[object]:
    """A parameter for each module, marked as it is."""
    return [
        pytest.param(module, id=module.name, marks=[pytest.mark.long] if module.long else [])
        for module in MODULES
    ]


def loop_under_test() -> str:
    """The loop's name; with the standard library as target, asyncio's."""
    return "asyncio" if chosen_target().name == "stdlib" else loops.chosen()


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    """What comes of each module that is to be run in this session."""
    chosen = [
        item.callspec.params["module"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {
        module.name: pool.submit(run, module.job(loop_under_test()))
        for module in chosen
        if absence(module) is None
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("module", parameters())
def test_module_passes_as_with_asyncio(module: Module, runs: Runs) -> None:
    why_not = absence(module)
    if why_not is not None:
        pytest.skip(why_not)
    outcomes = runs[module.name].result()
    on_loop = sum(outcome.loops > 0 for outcome in outcomes.values())
    counts.check_module(module.name, len(outcomes), on_loop)
    found = missed(module, loop_under_test(), outcomes)
    known = deviations.deviating(module.name)
    assert known <= set(outcomes)
    assert {name: why for name, why in found.items() if name not in known} == {}


def test_every_module_is_counted_on_every_release() -> None:
    assert set(counts.MODULES) == set(BY_NAME)
    assert {len(row) for row in counts.MODULES.values()} == {len(counts.RELEASES)}


def test_the_loop_under_test_is_no_other() -> None:
    loop = chosen_target().aio.new_event_loop()
    loop.close()
    name = loop_under_test()
    if name == loops.OURS:
        assert type(loop).__module__.startswith("counterpoint")
    elif name == "asyncio":
        assert type(loop) is asyncio.SelectorEventLoop
