"""`getaddrinfo` and `getnameinfo` of numbers: no thread, and what `socket` says."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from counterpoint.aio import EventLoop, new_event_loop

HOSTS: list[Any] = [
    "127.0.0.1", "0.0.0.0", "255.255.255.255", "1.2.3.4", "127.1", "1", "0x7f.1", "010.0.0.1",
    "::1", "::", "fe80::1", "fe80::1%1", "fe80::1%lo", "::ffff:1.2.3.4", "2001:DB8::a",
]  # fmt: skip
# They are no numbers, or no addresses: the ordinary way says what of them.
STRANGE: list[Any] = [
    "1.2.3.4.5", "256.0.0.1", "1.2.3.", ":::", "fe80::1%nosuch", "::1%", "12345678901234567890",
    "٣.0.0.1", "1\0", b"127.0.0.1", b"::1", None, "", " 127.0.0.1", "127.0.0.1 ",
]  # fmt: skip
PORTS: list[Any] = [None, "", 0, 80, "80", 65535, 65536, -1, "007", True]
FAMILIES = [0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]
KINDS = [
    (0, 0),
    (socket.SOCK_STREAM, 0),
    (socket.SOCK_DGRAM, 0),
    (0, socket.IPPROTO_TCP),
    (socket.SOCK_STREAM, socket.IPPROTO_UDP),
    (socket.SOCK_RAW, 0),
]
FLAGS = [
    0,
    socket.AI_PASSIVE,
    socket.AI_CANONNAME,
    socket.AI_V4MAPPED | socket.AI_ALL,
    socket.AI_NUMERICHOST,
    socket.AI_NUMERICSERV,
    -1,
]


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return type(error), error.args


def has_asked_a_thread(loop: EventLoop) -> bool:
    return loop._default_executor is not None


@pytest.mark.parametrize("host", HOSTS)
def test_numbers_are_told_as_socket_does(loop: EventLoop, host: str) -> None:
    for port, family, (kind, proto), flags in itertools.product(PORTS, FAMILIES, KINDS, FLAGS):
        expected = outcome(lambda: socket.getaddrinfo(host, port, family, kind, proto, flags))  # noqa: B023
        call = loop.getaddrinfo(host, port, family=family, type=kind, proto=proto, flags=flags)
        assert outcome(lambda: loop.run_until_complete(call)) == expected  # noqa: B023


@pytest.mark.parametrize("host", HOSTS)
def test_no_thread_is_asked_for_numbers(loop: EventLoop, host: str) -> None:
    for port in (80, "80", None, ""):
        found = loop.run_until_complete(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        assert len(found) == 1
    assert not has_asked_a_thread(loop)


@pytest.mark.parametrize("host", STRANGE)
def test_what_is_strange_goes_the_ordinary_way(loop: EventLoop, host: Any) -> None:
    for port in (80, None, "http", b"80", 1.5):
        expected = outcome(lambda: socket.getaddrinfo(host, port))  # noqa: B023
        call = loop.getaddrinfo(host, port)
        assert outcome(lambda: loop.run_until_complete(call)) == expected  # noqa: B023
    assert has_asked_a_thread(loop)


def test_a_name_is_asked_for_in_a_thread(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def lookup(*_: object) -> list[object]:
        threads.append(threading.get_ident())
        return []

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    # And so are numbers, of one who has put something else in its place.
    for host in ("name.invalid", "127.0.0.1"):
        assert loop.run_until_complete(loop.getaddrinfo(host, 80)) == []
    assert threading.get_ident() not in threads
    assert len(threads) == 2


def test_debug_mode_logs_it_as_ever(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    assert any("Get address info 127.0.0.1:80" in record.getMessage() for record in caplog.records)


NUMBERS = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
ADDRESSES: list[Any] = [
    ("127.0.0.1", 80), ("::1", 80), ("::1", 80, 0, 0), ("fe80::1", 1, 5, 1), ("1.2.3.4", 65536),
    ("1.2.3.4", -1), ("name.invalid.", 80), ("127.0.0.1",), (), ("127.0.0.1", "80"), ["::1", 80],
    None, ("::1", 80, 1 << 30, 0), ("127.0.0.1", 80, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES, ids=repr)
def test_names_that_are_numbers(loop: EventLoop, address: Any) -> None:
    for flags in (NUMBERS, NUMBERS | socket.NI_DGRAM, socket.NI_NUMERICHOST):
        expected = outcome(lambda: socket.getnameinfo(address, flags))  # noqa: B023
        call = loop.getnameinfo(address, flags)
        assert outcome(lambda: loop.run_until_complete(call)) == expected  # noqa: B023


def test_no_thread_is_asked_for_names_that_are_numbers(loop: EventLoop) -> None:
    found = loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), NUMBERS))
    assert found == ("127.0.0.1", "80")
    assert not has_asked_a_thread(loop)
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("selector", [5, "epoll"])
def test_what_is_no_selector_is_refused(selector: Any) -> None:
    with pytest.raises(TypeError, match=f"selector must be a selector or None, not {selector!r}"):
        EventLoop(selector)
    gc.collect()  # and what was not made has nothing to close
