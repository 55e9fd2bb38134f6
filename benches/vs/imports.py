"""Import times, each sample from a fresh process, the contenders in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from benches.vs.case import Demand
from benches.vs.environment import usual
from benches.vs.libraries import OURS, STDLIB, Library
from benches.vs.measure import Column, Row

CODE = """
import time
start = time.perf_counter_ns()
{statement}
print(time.perf_counter_ns() - start)
"""
# concurrent.futures imports its thread pool when it is first named.
STDLIB_MODULES = "import concurrent.futures, queue, threading"
STDLIB_IN_USE = f"{STDLIB_MODULES}\nconcurrent.futures.ThreadPoolExecutor"
PACKAGE = {
    OURS: "import counterpoint",
    STDLIB: STDLIB_MODULES,
    "culsans": "import culsans",
    "aiologic": "import aiologic",
    "janus": "import janus",
}
IN_USE = {
    OURS: "from counterpoint import futures, queue, threading\nfutures.ThreadPoolExecutor",
    STDLIB: STDLIB_IN_USE,
}
ROWS: tuple[tuple[str, str, Mapping[str, str], tuple[Demand, ...]], ...] = (
    ("import-package", "import the package", PACKAGE, (Demand(1 / 1.5),)),
    ("import-in-use", "import the three modules and the thread pool", IN_USE, (Demand(1 / 1.5),)),
)


def import_ns(statement: str) -> int:
    """Nanoseconds of the statement in a new interpreter, which may keep its bytecode."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(statement=statement)],
        capture_output=True,
        text=True,
        timeout=60,
        env=usual(),
        check=True,
    )
    return int(done.stdout)


def measure_imports(
    libraries: Sequence[Library],
    rounds: int,
    wanted: Callable[[str], bool],
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    for name, title, statements, demands in ROWS:
        if not wanted(name):
            continue
        here = {x.name: statements[x.name] for x in libraries if x.name in statements}
        columns = {library: Column(n=1) for library in here}
        for library in list(here):
            try:
                import_ns(here[library])  # so that bytecode is written and files are cached
            except subprocess.CalledProcessError as error:
                columns[library].error = str(error.stderr).strip().splitlines()[-1]
                del here[library]
        for turn in range(rounds):
            progress(f"{name}: round {turn + 1} of {rounds}")
            for library, statement in here.items():
                columns[library].samples.append(import_ns(statement))
        yield Row(name, title, "wall", demands, columns)
