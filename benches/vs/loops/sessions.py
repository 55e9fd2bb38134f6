"""Servers with their loads, and hosts; they stay open over the rounds of a case."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benches.vs.case import Run, Sample
from benches.vs.libraries import Factory
from benches.vs.loops.certificate import make_certificate
from benches.vs.loops.echo import CERTIFICATE
from benches.vs.loops.names import BARE, Looped
from benches.vs.loops.programs import Program, in_python, in_rust

HTTP = "http"
DATAGRAMS = "datagrams"
TLS = "tls"
# What the load is told of these kinds; the others go over plain TCP.
OVER = {DATAGRAMS: ("--datagrams",), TLS: ("--tls",)}


class Setup(NamedTuple):
    """What is served, and what the load asks for: bytes to be echoed, or ``HTTP``."""

    kind: str
    asked: int | str
    connections: int = 10


class Session(Protocol):
    """What stays open."""

    def run(self, n: int) -> Sample: ...
    def end(self) -> None: ...


class Served:
    """A server and its load, each on a CPU of its own where there are two."""

    def __init__(self, setup: Setup, loop: str) -> None:
        self._closing = contextlib.ExitStack()
        try:
            self._begin(setup, loop)
        except BaseException:
            self.end()
            raise

    def _begin(self, setup: Setup, loop: str) -> None:
        directory = self._closing.enter_context(tempfile.TemporaryDirectory())
        self.server = serve(setup.kind, loop, Path(directory))
        self._closing.callback(self.server.end)
        self.port = int(self.server.line())
        self.over = OVER.get(setup.kind, ())
        asked = ("--http",) if setup.asked == HTTP else ("--size", setup.asked)
        self.load = self.join("--connections", setup.connections, *asked)

    def join(self, *asked: object) -> Program:
        """A load whose connections are open."""
        load = Program(in_rust("load"), f"127.0.0.1:{self.port}", *self.over, *asked)
        self._closing.callback(load.end)
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) > 1:
            self.server.keep_to(cpus[0])
            load.keep_to(cpus[1])
        if (said := load.line()) != "ready":
            raise RuntimeError(f"the load said {said}")
        return load

    def hold(self, count: int) -> None:
        """So many more connections, which have had one exchange and are idle."""
        self.join("--connections", 0, "--idle", count)

    def ask(self, n: int) -> tuple[dict[str, Any], int]:
        """What the load says of n requests, and the server's CPU time for them."""
        before = self.server.cpu_ns()
        answer = json.loads(self.load.ask(f"count {n}"))
        return answer, self.server.cpu_ns() - before

    def run(self, n: int) -> Sample:
        answer, cpu = self.ask(n)
        return Sample(answer["elapsed_ns"], cpu)

    def end(self) -> None:
        self._closing.close()


def serve(kind: str, loop: str, directory: Path) -> Program:
    if loop == BARE:
        return Program(in_rust("echo-server"), *(["--datagrams"] if kind == DATAGRAMS else []))
    more: Mapping[str, str] = {}
    if kind == TLS:
        more = {CERTIFICATE: str(make_certificate(directory))}
    return Program(*in_python("server", kind, loop), more=more)


class Hosted:
    """A host that does works on a loop."""

    def __init__(self, work: str, loop: str) -> None:
        self._work = work
        self._program = Program(*in_python("host", loop))
        try:
            self._program.line()
        except BaseException:
            self.end()
            raise

    def run(self, n: int) -> Sample:
        return Sample(**json.loads(self._program.ask(f"{self._work} {n}")))

    def end(self) -> None:
        self._program.end()


_open: dict[tuple[Setup | str, str], Session] = {}


def run_in(what: Setup | str, loop: str, n: int) -> Sample:
    """One sample from a session, which is opened if need be, and ended if it fails."""
    key = (what, loop)
    if key not in _open:
        _open[key] = Hosted(what, loop) if isinstance(what, str) else Served(what, loop)
    try:
        return _open[key].run(n)
    except (OSError, RuntimeError, ValueError):
        _open.pop(key).end()
        raise


def end_all() -> None:
    """End every session."""
    while _open:
        _open.popitem()[1].end()


@contextlib.contextmanager
def open_for_a_case() -> Iterator[None]:
    """No session is left behind."""
    try:
        yield
    finally:
        end_all()


def in_session(what: Setup | str) -> Run:
    """Runs of requests to a server, or of a work by name."""

    def run(factory: Factory, n: int) -> Sample:
        assert isinstance(factory, Looped)
        return run_in(what, factory.name, n)

    return run
