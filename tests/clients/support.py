"""Runs real servers and their clients on the loop under test."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from tests import loops
from tests.support import DEADLINE

T = TypeVar("T")

HOST = "127.0.0.1"

# What other people's packages warn of is their business.
FOREIGN = pytest.mark.filterwarnings("default")


def needed(name: str) -> Any:
    """The module of this name; the test is skipped without it, or where it has no use."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            pytest.skip(f"{error.name} is not installed: it is in the dependency group clients")
        except RuntimeWarning as warning:
            pytest.skip(f"{name} is not for this build of Python: {warning}")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `main()`, run by a loop of the kind under test, which it is told."""

    async def limited() -> T:
        return await asyncio.wait_for(main(), DEADLINE)

    with asyncio.Runner(loop_factory=loops.factory()) as runner:
        expected = type(runner.get_loop())
        result = runner.run(limited())
        assert type(runner.get_loop()) is expected
    return result


async def ended(task: asyncio.Future[Any]) -> None:
    """Cancels what serves and waits for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def app(scope: Any, receive: Any, send: Any) -> None:
    """A small ASGI application: it answers with the request, in pieces if that is asked for."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        await _answer(scope, receive, send)


async def _live(receive: Any, send: Any) -> None:
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


async def _echo(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text")})


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    loop = type(asyncio.get_running_loop()).__qualname__
    headers = [(b"content-type", b"application/octet-stream"), (b"x-loop", loop.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/pieces":
        for index in range(0, len(body), 10_000):
            piece = body[index : index + 10_000]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        body = b""
    answer = body or scope["path"].encode() * (scope["path"] != "/pieces")
    await send({"type": "http.response.body", "body": answer})
