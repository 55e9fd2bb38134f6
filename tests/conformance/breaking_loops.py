"""Ways to break an event loop: each takes the factory and gives one whose loops are broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

Factory = Callable[[], asyncio.AbstractEventLoop]
Method = Callable[..., Any]


def _with(name: str, change: Callable[[Method], Method]) -> Callable[[Factory], Factory]:
    """Loops with a method that is changed."""

    def breaking(make: Factory) -> Factory:
        def broken() -> asyncio.AbstractEventLoop:
            loop = make()
            setattr(loop, name, change(getattr(loop, name)))
            return loop

        return broken

    return breaking


def _forgiving(error: type[Exception]) -> Callable[[Method], Method]:
    def change(real: Method) -> Method:
        def method(*args: Any, **kwargs: Any) -> Any:
            try:
                return real(*args, **kwargs)
            except error:
                return None

        return method

    return change


def _forgiving_coroutine(real: Method) -> Method:
    async def method(*args: Any, **kwargs: Any) -> Any:
        try:
            return await real(*args, **kwargs)
        except TypeError:
            return None

    return method


def _hurried(real: Method) -> Method:
    async def create_server(*args: Any, **kwargs: Any) -> Any:
        return await real(*args, **{**kwargs, "start_serving": True})

    return create_server


def _answering(answer: object) -> Callable[[Method], Method]:
    def change(_: Method) -> Method:
        async def method(*args: Any, **kwargs: Any) -> Any:
            return answer

        return method

    return change


def _aborting(real: Method) -> Method:
    async def create_connection(*args: Any, **kwargs: Any) -> Any:
        transport, protocol = await real(*args, **kwargs)
        transport.abort()
        return transport, protocol

    return create_connection


# A closed loop that runs; one that takes any argument for TLS; and so on.
running_closed = _with("run_forever", _forgiving(RuntimeError))
taking_no_context = _with("start_tls", _forgiving_coroutine)
serving_at_once = _with("create_server", _hurried)
sending_no_file = _with("sock_sendfile", _answering(0))
receiving_nothing = _with("sock_recv", _answering(b""))
aborting = _with("create_connection", _aborting)
