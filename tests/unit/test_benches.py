"""The benchmarks run on ours and on the standard library, judge rightly, and write their page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benches.vs import cli, hosts, memory, process_growth
from benches.vs.case import Case, Demand, Sample
from benches.vs.cases import ALL, PROCESSES, SPEED
from benches.vs.crowds import CROSSINGS, Patience, cross, start_busy
from benches.vs.documents import README_END, README_START, write_page, write_readme
from benches.vs.growth import fill_and_empty, sharing_pool
from benches.vs.imports import import_ns
from benches.vs.libraries import BEST_PEER, OURS, STDLIB, Factory, Library, available, named
from benches.vs.measure import Column, Effort, Row, contenders, measure, rounded
from benches.vs.process_libraries import Hosted
from benches.vs.results import Results, load
from benches.vs.series import Series
from benches.vs.tables import failures, gaps, quantity, reached, unmeasured, wanted_of

BRIEF = Effort(rounds=2, cpu_ms=0.01, wall_ms=0.01)
BOTH = [STDLIB, "ours"]


@pytest.fixture(scope="module", autouse=True)
def _hosts_end() -> Iterator[None]:
    with hosts.hosting():
        yield


def row_of(ours: list[float], stdlib: list[float], times: float = 2.0) -> Row:
    columns = {OURS: Column(n=1, samples=ours), STDLIB: Column(n=1, samples=stdlib)}
    return Row("name", "title", "cpu", (Demand(times),), columns)


@pytest.mark.parametrize("library", BOTH)
@pytest.mark.parametrize("case", SPEED + PROCESSES, ids=lambda case: case.name)
def test_every_case_runs(case: Case, library: str) -> None:
    factory = named(library).factories[case.kind]
    sample = case.run(factory, rounded(20, case.step))
    assert sample.wall > 0


@pytest.mark.parametrize("library", BOTH)
@pytest.mark.parametrize("kind", CROSSINGS)
def test_threads_cross_each_object(kind: str, library: str) -> None:
    assert min(cross(CROSSINGS[kind](named(library), 5), 5)) > 0
    assert min(cross(CROSSINGS[kind](named(library), 5), 5, busy=True)) > 0


@pytest.mark.parametrize("library", BOTH)
def test_threads_start_on_the_library_s_event(library: str) -> None:
    assert start_busy(named(library), 5) > 0


def test_patience_predicts_squares() -> None:
    series = Series("name", "title", "threads", "ns")
    patience = Patience(series)
    assert patience.lasts(STDLIB, 100)
    series.add(STDLIB, 100, 20e6)  # two seconds for all
    assert patience.seconds(STDLIB, 200) == pytest.approx(8)
    assert patience.lasts(STDLIB, 200)
    assert not patience.lasts(STDLIB, 900)
    assert series.notes == ["stdlib at 900: would take 162 s"]


@pytest.mark.parametrize("library", BOTH)
def test_growth_runs(library: str) -> None:
    factories = named(library).factories
    assert fill_and_empty(factories["PriorityQueue"], 100) > 0
    assert sharing_pool(2)(factories["ThreadPoolExecutor"], 10).wall > 0


def test_children_count_bytes() -> None:
    """A thousand futures of the standard library hold at least a condition each."""
    assert memory.child("objects", STDLIB, "Future", 1000, exact=True)["bytes"] > 200
    assert 7 < memory.child("items", STDLIB, "Queue", 10_000, exact=True)["bytes"] < 12
    assert memory.child("pending", STDLIB, 100, exact=False)["submit_ns"] > 0
    assert memory.child_column("objects", STDLIB, "Teapot", 1).error.startswith("KeyError")


@pytest.mark.parametrize("library", [OURS, STDLIB])
def test_tasks_are_queued_behind_a_busy_process(library: str) -> None:
    assert process_growth.queued(library, 100, "run")["fetch_ns"] > 0
    kept = process_growth.queued(library, 1000, "keep")
    assert "fetch_ns" not in kept
    if library == STDLIB:
        assert kept["bytes"] > 200


def test_growth_of_process_pools_runs() -> None:
    extent = process_growth.Extent((2,), (1,), (100,), 0, 0, 1, 20, 0.001)
    libraries = [named(OURS), named(STDLIB)]
    wanted = lambda name: name != "process-queued"  # noqa: E731
    found = list(process_growth.measure_growth(libraries, extent, wanted, str))
    names = ["process-workers", "process-workers-start", "process-task-length"]
    assert [series.name for series in found] == names
    assert all(series.columns.keys() == {OURS, STDLIB} for series in found)
    assert not any(series.notes for series in found)
    (row,) = process_growth.measure_idle(libraries, 1, str.isprintable, str)
    assert row.columns[OURS].samples[0] < 1e9


def test_a_host_that_fails_costs_its_column_and_is_replaced() -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        hosts.ask(STDLIB, "teapot", 2, 1)
    broken = hosts.Host(STDLIB)
    try:
        with pytest.raises(RuntimeError, match="its process ended"):
            broken.ask()  # what it cannot read ends it
    finally:
        broken.end(patience=0.0)
    assert hosts.ask(STDLIB, "copy", 2, 8).wall > 0


def test_import_is_timed() -> None:
    assert import_ns("import queue") > 0


def test_measure_takes_rounds_and_keeps_errors() -> None:
    def run(factory: Factory, n: int) -> Sample:
        return Sample(1000 * n * factory(), 500 * n)

    def fail() -> int:
        raise OSError("out of tea")

    libraries = [
        Library(OURS, "1", {"Tea": lambda: 1}, {}),
        Library(STDLIB, "2", {"Tea": lambda: 3}, {}),
        Library("peer", "3", {"Tea": fail}, {}),
        Library("other", "4", {}, {}),
    ]
    case = Case("tea", "Tea", "Tea", run, (Demand(3),))
    row = measure(case, libraries, BRIEF)
    assert list(row.columns) == [OURS, STDLIB, "peer"]
    assert row.ratios(STDLIB) == [3.0, 3.0]
    assert row.verdict(case.demands[0]) == "pass"
    assert row.columns["peer"].error == "OSError: out of tea"
    assert row.columns[OURS].cpu_samples == [500, 500]


@pytest.mark.parametrize(
    ("ours", "stdlib", "verdict"),
    [
        ([10.0, 10.0], [20.0, 20.0], "pass"),
        ([10.0, 10.0], [19.7, 19.7], "close"),
        ([10.0, 10.0], [19.0, 19.0], "FAIL"),
        ([10.0, 10.0, 10.0], [15.0, 19.0, 23.0], "close"),
        ([10.0, 10.0, 10.0], [5.0, 15.0, 30.0], "FAIL"),
        ([], [20.0, 20.0], "absent"),
    ],
)
def test_verdicts(ours: list[float], stdlib: list[float], verdict: str) -> None:
    row = row_of(ours, stdlib)
    assert row.verdict(row.demands[0]) == verdict


def test_the_best_peer_is_the_fastest_that_is_no_extra_column() -> None:
    row = row_of([10.0], [100.0])
    row.columns |= {name: Column(n=1, samples=[t]) for name, t in (("a", 30.0), ("b", 20.0))}
    row.columns["floor"] = Column(n=1, samples=[1.0])
    row.extra = ("floor",)
    assert row.best_peer() == "b"
    assert row.ratios(BEST_PEER) == [2.0]
    assert row.losses() == []
    assert row_of([10.0], [100.0]).verdict(Demand(1, BEST_PEER)) == "absent"


def test_megabytes_in_a_second() -> None:
    assert quantity(100_000.0, "MB/s") == "10,000 MB/s"


def test_a_library_that_is_left_out_costs_its_extra_column() -> None:
    case = Case("tea", "Tea", "Tea", lambda factory, n: Sample(1, 1), also={"x": (OURS, "Tea")})
    assert contenders(case, [Library(STDLIB, "1", {"Tea": Hosted(STDLIB)}, {})]).keys() == {STDLIB}


def test_a_peer_that_is_not_installed_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_fifo", None)
    libraries, notes = available()
    assert "faster-fifo" not in [library.name for library in libraries]
    assert "faster-fifo is left out: No module named 'faster_fifo'" in notes


def test_losses_are_named() -> None:
    assert row_of([10.0], [5.0]).losses() == [(STDLIB, 2.0)]
    assert row_of([10.0], [10.0]).losses() == []


def test_contenders_include_the_extra_columns() -> None:
    case = next(case for case in ALL if case.name == "queue-1t")
    assert list(contenders(case, [named(STDLIB)])) == [STDLIB, "C SimpleQueue"]


def results() -> Results:
    series = Series("items", "Queue: put & get", "items", "ns")
    for x in (100, 1000):
        series.add(OURS, x, 10.0 * x)
        series.add(STDLIB, x, 30.0 * x)
    series.add(OURS, 10_000, 1e5)
    series.notes = ["ours at 5: gone", "ours at 5: gone"]
    meta = {
        "tag": "cp313",
        "python": "3.13.0",
        "machine": "abacus",
        "cpus": 2,
        "load": 0.5,
        "time": "2026-01-01 00:00 UTC",
        "mode": "full",
        "libraries": {STDLIB: "3.13.0"},
        "notes": ["janus is left out: gone"],
    }
    rows = [row_of([10.0], [30.0]), row_of([10.0], [8.0]), row_of([100.0], [199.0])]
    rows[0].demands += (Demand(1, "floor"), Demand(3, BEST_PEER))
    rows[0].columns |= {name: Column(n=1, samples=[t]) for name, t in (("floor", 9.0), ("p", 30.0))}
    rows[0].columns["gone"] = Column(n=1, error="OSError: out of tea")
    rows[0].extra = ("floor",)
    rows[1].name = rows[1].title = "lost"
    rows[2].name = rows[2].title = "nearly"
    return Results(meta, rows, [series])


def test_results_survive_being_kept(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "cp313.json"
    results().save(path)
    assert load(path) == results()
    assert json.loads(path.read_text())["rows"][0]["columns"][OURS]["samples"] == [10.0]


def test_page_shows_misses_losses_and_charts(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    write_page(page, [results()])
    text = page.read_text()
    wanted, found = "≥ 2.00×, ≥ 1.00× floor, ≥ 3.00× the best peer", "3.00×"
    line = f"| title | {wanted} | {found}, **0.90× floor (missed)**, 3.00× the best peer |"
    assert line in text
    assert "| lost | ≥ 2.00× | **0.80× (missed)** |" in text
    assert "| nearly | ≥ 2.00× | **1.99× (close)** |" in text
    assert "- lost: 0.80× of stdlib, wanted 2.00×: 60.0% short\n" in text
    assert "- nearly: 1.99× of stdlib, wanted 2.00×: 0.5% short (close)\n" in text
    assert "Not measured:\n\n- name: gone: OSError: out of tea\n" in text
    assert "- stdlib at 10,000: not tried\n" in text
    assert text.count("- ours at 5: gone\n") == 1
    assert "- lost: stdlib is 1.25× faster." in text
    assert "janus is left out: gone" in text
    assert "| 1,000 | 10 µs | 30 µs | 3.00× |" in text
    chart = tmp_path / "benchmarks-charts" / "cp313-items.svg"
    assert f"({chart.parent.name}/{chart.name})" in text
    drawn = ElementTree.fromstring(chart.read_text())
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_readme_table_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{README_START}\nold\n{README_END}\nafter\n")
    write_readme(readme, [results()])
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert line_of(text, "title").endswith("3.00× the best peer |")
    readme.write_text("no markers")
    with pytest.raises(ValueError, match="has no lines"):
        write_readme(readme, [results()])


def line_of(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {title} |"))


def test_what_is_close_is_told_and_no_failure() -> None:
    rows = results().rows
    assert [line.partition(":")[0] for line in failures(rows)] == ["name", "lost"]
    assert [line.partition(":")[0] for line in failures(rows, True)] == ["name", "lost", "nearly"]


def test_a_demand_of_somebody_else_stands_beside_the_ratio_to_the_standard_library() -> None:
    row = row_of([10.0], [30.0])
    row.demands = (Demand(1, BEST_PEER),)
    row.columns["peer"] = Column(n=1, samples=[20.0])
    assert (wanted_of(row.demands), reached(row)) == (
        "≥ 1.00× the best peer",
        "3.00×, 2.00× the best peer",
    )
    row.demands = ()
    assert (wanted_of(row.demands), reached(row)) == ("–", "3.00×")


def test_who_is_left_out_is_named() -> None:
    row = row_of([10.0], [30.0])
    row.name = "process-map"
    everybody = [STDLIB, "deadpool-executor"]
    assert unmeasured([row], everybody) == ["process-map: deadpool-executor: its map has no chunks"]
    assert unmeasured([row], [STDLIB]) == []
    series = Series("process-workers", "title", "workers", "ns")
    for name, numbers in ((OURS, (1, 64)), ("loky", (1,))):
        for number in numbers:
            series.add(name, number, 1.0)
    (gap,) = gaps(series)
    assert gap == "loky at 64: not tried"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--one", "lock", "--impl", "stdlib", "--rounds", "100"]) == 0
    assert "lock, stdlib" in capsys.readouterr().out
    assert cli.main(["--one", "nothing"]) == 2
    assert cli.main(["--list"]) == 0
    assert "queue-1t" in capsys.readouterr().out
    kept = tmp_path / "kept.json"
    chosen = ["--quick", "--groups", "speed", "--only", "lock-w*", "--output", str(kept)]
    assert cli.main([*chosen, "--without", "culsans", "aiologic", "janus"]) == 0
    assert "with Lock" in capsys.readouterr().out
    assert cli.main(["--show", str(kept)]) == 0
    assert "with Lock" in capsys.readouterr().out
