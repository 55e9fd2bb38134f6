"""The hosts, as seen from the process that collects the samples."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

from benches.vs.case import PATIENCE_SECONDS, Run, Sample
from benches.vs.environment import usual
from benches.vs.libraries import Factory
from benches.vs.process_libraries import Hosted
from benches.vs.process_works import Answer, Pools, perform

WORKERS = 2


class Host:
    """A process that measures one library, with a group of its own."""

    def __init__(self, library: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benches.vs.host", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_HOSTS_TALK") else subprocess.DEVNULL,
            text=True,
            env=usual(),
            start_new_session=True,
        )

    def ask(self, **request: object) -> Answer:
        """Raises if the library did, or if there is no answer."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        print(json.dumps(request), file=requests, flush=True)
        if not select.select([answers], [], [], PATIENCE_SECONDS)[0]:
            raise TimeoutError(f"no answer within {PATIENCE_SECONDS:.0f} s")
        line = answers.readline()
        if not line:
            raise RuntimeError("its process ended")
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def end(self, patience: float = 10.0) -> None:
        """Let it close its pools; then whatever is left is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()


_hosts: dict[str, Host] = {}
# The chunk sizes that were found to be the best for map, by library.
chunks: dict[str, int] = {}
# No host but this process itself, for a profiler to watch.
direct = False


def ask(library: str, work: str, workers: int, n: int) -> Sample:
    """One sample from a library's host, which is started if need be, and ended if it fails."""
    if direct:
        return in_this_process(library, work, workers, n)
    if library not in _hosts:
        _hosts[library] = Host(library)
    try:
        answer = _hosts[library].ask(work=work, workers=workers, n=n)
    except (TimeoutError, OSError, RuntimeError, ValueError):
        _hosts.pop(library).end(patience=0.0)
        raise
    if answer["chunk"] is not None:
        chunks[library] = answer["chunk"]
    return Sample(answer["wall"], answer["cpu"])


def close_pools(library: str) -> None:
    """Have a host close its pools and stay."""
    if library in _hosts:
        try:
            _hosts[library].ask(work="close")
        except (TimeoutError, OSError, RuntimeError, ValueError):
            _hosts.pop(library).end(patience=0.0)


def end_all() -> None:
    """End every host."""
    while _hosts:
        _hosts.popitem()[1].end()


@contextlib.contextmanager
def hosting() -> Iterator[None]:
    """No host is left behind."""
    try:
        yield
    finally:
        end_all()


def in_host(work: str, workers: int = WORKERS) -> Run:
    """Runs of a work by name, in the library's host."""

    def run(factory: Factory, n: int) -> Sample:
        assert isinstance(factory, Hosted)
        return ask(factory.library, factory.work or work, factory.workers or workers, n)

    return run


def in_this_process(library: str, work: str, workers: int, n: int) -> Sample:
    pools = Pools(library)
    try:
        answer = perform(pools, work, workers, n)
    finally:
        pools.close()
    return Sample(answer["wall"], answer["cpu"])
