"""What tasks and futures schedule themselves: callbacks of which nobody has a handle."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

import pytest

from counterpoint.aio import EventLoop, new_event_loop

WORD: ContextVar[str] = ContextVar("word", default="none")


def raises(*_: object) -> None:
    raise ZeroDivisionError


def settled(loop: asyncio.AbstractEventLoop, callback: Callable[[Any], object]) -> None:
    """Has a future schedule a callback."""
    future = loop.create_future()
    future.add_done_callback(callback)
    future.set_result(None)


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_what_one_raises_is_told_of_with_a_handle() -> None:
    loop = new_event_loop()
    told: list[tuple[type, bool, str]] = []

    def tell(_: object, context: dict[str, Any]) -> None:
        handle = context["handle"]
        told.append((type(context["exception"]), isinstance(handle, asyncio.Handle), repr(handle)))

    loop.set_exception_handler(tell)
    settled(loop, raises)
    turn(loop)
    loop.close()
    [(error, is_handle, shown)] = told
    assert error is ZeroDivisionError
    assert is_handle
    assert shown.startswith("<Handle raises(")


def test_they_run_in_the_order_of_all_others() -> None:
    loop = new_event_loop()
    order: list[int] = []
    for number in range(0, 200, 2):
        settled(loop, lambda _, number=number: order.append(number))
        loop.call_soon(order.append, number + 1)
    turn(loop)
    loop.close()
    assert order == list(range(200))


def test_each_runs_in_its_context() -> None:
    loop = new_event_loop()
    seen: list[str] = []

    def schedule(word: str) -> None:
        WORD.set(word)
        settled(loop, lambda _: seen.append(WORD.get()))

    for word in ("a", "b"):
        Context().run(schedule, word)
    settled(loop, lambda _: seen.append(WORD.get()))
    turn(loop)
    loop.close()
    assert seen == ["a", "b", "none"]


def test_what_is_ready_can_be_looked_at() -> None:
    loop: Any = new_event_loop()
    settled(loop, raises)
    last = loop.call_soon(print)
    first, second = loop._ready
    assert isinstance(first, asyncio.Handle)
    assert "raises" in repr(first)
    assert second is last
    assert loop.statistics().ready == 2
    loop.close()
    assert loop._ready == []


def test_who_overrides_call_soon_gets_handles() -> None:
    handles: list[asyncio.Handle] = []

    class Own(EventLoop):
        def call_soon(self, callback: Any, *arguments: Any, context: Any = None) -> Any:
            handles.append(super().call_soon(callback, *arguments, context=context))
            return handles[-1]

    async def main() -> str:
        await asyncio.sleep(0)
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        return "done"

    with asyncio.Runner(loop_factory=Own) as runner:
        assert runner.run(main()) == "done"
    assert len(handles) > 5
    assert all(isinstance(handle, asyncio.Handle) for handle in handles)


def test_who_puts_another_call_soon_into_a_loop_gets_handles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handles: list[object] = []
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        ours = loop.call_soon

        def call_soon(*arguments: Any, **named: Any) -> Any:
            handles.append(ours(*arguments, **named))
            return handles[-1]

        monkeypatch.setattr(loop, "call_soon", call_soon)
        runner.run(asyncio.sleep(0))
    assert handles
    assert all(isinstance(handle, asyncio.Handle) for handle in handles)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_loop_that_is_forgotten_with_some_is_collected() -> None:
    class Held:
        pass

    def leave() -> weakref.ref[Held]:
        loop, held = new_event_loop(), Held()
        held.loop = loop  # type: ignore[attr-defined]
        settled(loop, lambda _: held)
        return weakref.ref(held)

    gone = leave()
    gc.collect()
    assert gone() is None


def test_one_that_takes_long_is_told_of_though_debug_mode_came_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = new_event_loop()
    settled(loop, lambda _: None)
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.WARNING, "asyncio"):
        turn(loop)
    loop.close()
    assert any("took" in record.getMessage() for record in caplog.records)


def test_a_tasks_context_that_is_none_is_refused_when_it_is_scheduled() -> None:
    loop = new_event_loop()
    coroutine = asyncio.sleep(0)
    with pytest.raises(TypeError, match="Context"):
        asyncio.Task(coroutine, loop=loop, context=3)  # type: ignore[arg-type]
    coroutine.close()
    loop.close()
