"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from benches.vs import growth, hosts, measure, process_growth
from benches.vs.cases import ALL, LOOPS, PROCESSES, SPEED, loops
from benches.vs.documents import write_page, write_readme
from benches.vs.imports import measure_imports
from benches.vs.libraries import OURS, STDLIB, Library, available, named
from benches.vs.loops import growth as loop_growth
from benches.vs.loops import sessions
from benches.vs.measure import contenders
from benches.vs.memory import measure_memory
from benches.vs.results import DIRECTORY, Results, describe_run, interpreter_tag, load
from benches.vs.tables import failures
from benches.vs.terminal import Progress, print_results

GROUPS = ("speed", "memory", "import", "growth", "processes", "loops")
DESCRIPTION = """\
Measure counterpoint against the standard library and other packages, in one run: culsans, aiologic
and janus have locks and queues; loky, joblib, mpire, pebble and deadpool-executor process pools;
faster-fifo has queues between processes; uvloop, rloop and zuvloop have event loops.

A package that cannot be imported is left out with a note. Prints medians, spread, ratios and
whether each demand of the project is met, and keeps every sample in benches/results/TAG.json.
"""
EXAMPLES = """\
examples:
  python -m benches.vs --quick                       everything roughly, within four minutes
  python -m benches.vs                               everything, within half an hour
  python -m benches.vs --only 'queue-*' 'pool-*'     some cases
  python -m benches.vs --groups speed                some groups
  python -m benches.vs --only 'loop-*' --groups loops    event loops, within six minutes
  python -m benches.vs --show benches/results/*.json print kept results again
  python -m benches.vs --page docs/benchmarks.md     tables and charts from the kept results
  valgrind --tool=callgrind python -m benches.vs --one queue-1t --impl ours --rounds 100000
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benches.vs",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer and shorter rounds, smaller sizes")
    add("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="default: all of them")
    add("--only", nargs="+", metavar="PATTERN", default=["*"], help="cases by name, with * and ?")
    add("--without", nargs="+", metavar="LIBRARY", default=[], help="leave libraries out")
    add("--list", action="store_true", help="print the names of the cases")
    add("--output", type=Path, help="where to keep the samples; default: benches/results/TAG.json")
    add("--strict", action="store_true", help="exit with 1 if a demand is not met")
    add("--one", metavar="CASE", help="run one case once, without measuring: for profilers")
    add("--impl", metavar="LIBRARY", default="ours", help="with --one; ours, stdlib, culsans, …")
    add("--rounds", type=int, default=100_000, metavar="N", help="with --one: operations")
    add("--show", nargs="+", type=Path, metavar="JSON", help="print kept results")
    add("--page", type=Path, metavar="MD", help="write a page from benches/results/*.json")
    add("--readme", type=Path, metavar="MD", help="replace the table in a README")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(case.name for case in ALL))
        return 0
    if options.one:
        return run_one(options.one, options.impl, options.rounds)
    if options.show:
        for path in options.show:
            print_results(load(path))
        return 0
    if options.page or options.readme:
        return write_documents(options.page, options.readme)
    return run_all(options)


def run_one(name: str, library: str, operations: int) -> int:
    """The bare work of one case, for a profiler to watch."""
    found = [case for case in ALL if case.name == name]
    if not found:
        print(f"there is no case {name!r}; --list names them", file=sys.stderr)
        return 2
    case = found[0]
    libraries = [named(library)]
    if case.also:
        libraries.append(named(STDLIB))
    factory = contenders(case, libraries)[libraries[0].name]
    hosts.direct = True
    with sessions.open_for_a_case():
        sample = case.run(factory, measure.rounded(operations, case.step))
    print(f"{name}, {library}: {sample.wall / operations:.1f} ns wall", end=", ")
    print(f"{sample.cpu / operations:.1f} ns CPU for each of {operations:,}")
    return 0


def write_documents(page: Path | None, readme: Path | None) -> int:
    kept = [load(path) for path in sorted(DIRECTORY.glob("*.json"))]
    if not kept:
        print(f"no results in {DIRECTORY}: run the benchmarks first", file=sys.stderr)
        return 1
    if page:
        write_page(page, kept)
    if readme:
        write_readme(readme, kept)
    return 0


def run_all(options: argparse.Namespace) -> int:
    libraries, notes = available()
    libraries = [library for library in libraries if library.name not in options.without]
    results = Results(describe_run(libraries, notes, "quick" if options.quick else "full"))
    path = options.output or DIRECTORY / f"{interpreter_tag()}.json"
    progress = Progress()
    try:
        fill(results, libraries, options, progress)
    except KeyboardInterrupt:
        results.meta["notes"].append("interrupted: what follows is not all")
        path = path.with_suffix(".partial.json")
    progress.clear()
    print_results(results)
    results.save(path)
    print(f"\nevery sample is in {path}")
    ours = any(library.name == OURS for library in libraries)
    return 1 if options.strict and (not ours or failures(results.rows)) else 0


def fill(
    results: Results, libraries: list[Library], options: argparse.Namespace, progress: Progress
) -> None:
    wanted = wanted_by(options.only)
    effort = measure.QUICK if options.quick else measure.FULL
    if "speed" in options.groups:
        for case in SPEED:
            if wanted(case.name):
                results.rows.append(measure.measure(case, libraries, effort, progress))
    if "memory" in options.groups:
        results.rows.extend(measure_memory(libraries, wanted, progress))
    if "import" in options.groups:
        results.rows.extend(measure_imports(libraries, 2 * effort.rounds + 1, wanted, progress))
    if "growth" in options.groups:
        extent = growth.QUICK if options.quick else growth.FULL
        results.series.extend(growth.measure_growth(libraries, extent, wanted, progress))
    if "processes" in options.groups:
        with hosts.hosting():
            fill_processes(results, libraries, options.quick, wanted, progress)
    if "loops" in options.groups:
        fill_loops(results, libraries, options.quick, wanted, progress)


def fill_processes(
    results: Results,
    libraries: list[Library],
    quick: bool,
    wanted: Callable[[str], bool],
    progress: Progress,
) -> None:
    effort = measure.QUICK_PROCESSES if quick else measure.FULL_PROCESSES
    for case in PROCESSES:
        if wanted(case.name):
            results.rows.append(measure.measure(case, libraries, effort, progress))
    results.rows.extend(process_growth.measure_idle(libraries, effort.rounds, wanted, progress))
    extent = process_growth.QUICK if quick else process_growth.FULL
    results.series.extend(process_growth.measure_growth(libraries, extent, wanted, progress))
    if hosts.chunks:
        sizes = ", ".join(f"{name} {size:,}" for name, size in sorted(hosts.chunks.items()))
        results.meta["notes"].append(f"best chunk sizes of map, found beforehand: {sizes}")


def fill_loops(
    results: Results,
    libraries: list[Library],
    quick: bool,
    wanted: Callable[[str], bool],
    progress: Progress,
) -> None:
    lacking = any(library.name == OURS and "Loop" not in library.factories for library in libraries)
    if lacking and any(wanted(case.name) for case in LOOPS):
        results.meta["notes"].append("counterpoint has no event loop: no module counterpoint.aio")
    servers = measure.QUICK_SERVERS if quick else measure.FULL_SERVERS
    alone = measure.QUICK_LOOPS if quick else measure.FULL_LOOPS
    for cases, effort in ((loops.SERVERS, servers), (loops.ALONE, alone)):
        for case in cases:
            if wanted(case.name):
                with sessions.open_for_a_case():
                    results.rows.append(measure.measure(case, libraries, effort, progress))
    extent = loop_growth.QUICK if quick else loop_growth.FULL
    rows, series = loop_growth.measure_all(libraries, extent, wanted, progress)
    results.rows += rows
    results.series += series


def wanted_by(patterns: Sequence[str]) -> Callable[[str], bool]:
    return lambda name: any(fnmatch(name, pattern) for pattern in patterns)
