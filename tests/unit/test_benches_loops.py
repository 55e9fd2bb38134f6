"""The benchmarks of event loops: servers and loads work, and ratios are what they say."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benches.vs import cli
from benches.vs.case import Case
from benches.vs.cases.loops import ALONE, SERVERS
from benches.vs.libraries import BEST_OTHER, LOOPS, OURS, STDLIB, loop_peer, named
from benches.vs.loops import growth, programs, sessions
from benches.vs.loops.names import BARE, Looped, new_loop_of
from benches.vs.loops.sessions import TLS, Served, Setup
from benches.vs.measure import Column, Effort, Row, measure, rounded
from benches.vs.results import load
from benches.vs.series import Series
from benches.vs.tables import NONE, loop_cells, quantity

BRIEF = Effort(rounds=2, cpu_ms=0.01, wall_ms=0.01)
ASYNCIO = LOOPS[STDLIB]
# The others need packages, or a certificate.
ECHOES = [case for case in SERVERS if case.also]
EVERYONE = [named(STDLIB)]


@pytest.fixture
def _built() -> None:
    try:
        programs.in_rust("load")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _sessions_end() -> Iterator[None]:
    with sessions.open_for_a_case():
        yield


@pytest.mark.usefixtures("_built")
class TestServers:
    @pytest.mark.parametrize("case", ECHOES, ids=lambda case: case.name)
    def test_asyncio_and_the_bare_server_echo(self, case: Case) -> None:
        row = measure(case, EVERYONE, BRIEF)
        assert {name: column.error for name, column in row.columns.items()} == {
            STDLIB: "",
            BARE: "",
        }
        assert row.extra == (BARE,)
        for column in row.columns.values():
            assert min(column.samples) > 0
            assert len(column.wall_samples) == BRIEF.rounds

    def test_the_load_says_what_it_did(self) -> None:
        served = Served(Setup("protocol", 1000, 3), ASYNCIO)
        try:
            answer, cpu = served.ask(100)
            timed = served.load.ask("seconds 0.02")
            served.hold(5)
        finally:
            served.end()
        assert answer["count"] == 100
        assert 0 < answer["p50_ns"] <= answer["p99_ns"] <= answer["max_ns"]
        assert answer["max_ns"] <= answer["elapsed_ns"] * 1.01
        assert cpu > 0
        assert json.loads(timed)["elapsed_ns"] >= 20e6

    # Less than a record, two, and more than is read at once.
    @pytest.mark.parametrize("size", [1000, 20_000, 5_000_000])
    @pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
    def test_the_load_speaks_tls(self, size: int) -> None:
        served = Served(Setup(TLS, size, 3), ASYNCIO)
        try:
            answer, cpu = served.ask(10)
            served.hold(2)
        finally:
            served.end()
        assert answer["count"] == 10
        assert cpu > 0

    def test_many_connections(self) -> None:
        extent = growth.Extent(20, 20, (2, 20), 1, 50, 1)
        rows, (series,) = growth.measure_all(EVERYONE, extent, str.isprintable, str)
        names = ["loop-latency", "loop-memory", "loop-crowded", "loop-growth"]
        assert [row.name for row in rows] == names
        assert series.xs() == [2, 20]
        assert not series.notes
        assert all(row.measured().keys() == {STDLIB, BARE} for row in rows)

    def test_what_a_load_is_not_understood_by_is_an_error(self) -> None:
        program = programs.Program(programs.in_rust("load"), "nowhere")
        try:
            with pytest.raises(RuntimeError, match="load: nowhere is no HOST:PORT"):
                program.line()
        finally:
            program.end()
        done = subprocess.run([programs.in_rust("load")], capture_output=True, text=True)
        assert "usage: load HOST:PORT" in done.stderr

    def test_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        others = [name for name in LOOPS if name not in (OURS, STDLIB)]
        kept = tmp_path / "kept.json"
        chosen = ["--quick", "--groups", "loops", "--only", "loop-streams-1k", "loop-chain"]
        assert cli.main([*chosen, "--without", *others, "--output", str(kept)]) == 0
        assert "bare epoll" in capsys.readouterr().out
        assert [row.name for row in load(kept).rows] == ["loop-streams-1k", "loop-chain"]


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_what_a_loop_does_alone(case: Case) -> None:
    assert case.run(Looped(ASYNCIO), rounded(20, case.step)).wall > 0


def test_a_session_that_fails_says_why_and_is_replaced() -> None:
    with pytest.raises(RuntimeError, match="No module named 'teapot'"):
        sessions.run_in("chain", "teapot:new", 1)
    with pytest.raises(RuntimeError, match="KeyError: 'tea'"):
        sessions.run_in("tea", ASYNCIO, 1)
    assert sessions.run_in("chain", ASYNCIO, 10).cpu > 0


def test_a_program_that_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", tmp_path)
    row = measure(ECHOES[0], EVERYONE, BRIEF)
    assert row.columns[BARE].error.endswith("echo-server is not built: `make bench` builds it")


def test_loops_are_found_by_name() -> None:
    assert new_loop_of(ASYNCIO) is asyncio.new_event_loop
    with pytest.raises(ModuleNotFoundError, match="No module named 'teapot'"):
        loop_peer("teapot")


def test_the_cpu_time_of_another_process() -> None:
    program = programs.Program(*programs.in_python("host", ASYNCIO))
    try:
        program.line()
        before = program.cpu_ns()
        spent = json.loads(program.ask("chain 20000"))["cpu"]
        assert program.cpu_ns() - before >= spent > 0
    finally:
        program.end()


def row_of(**samples: list[float]) -> Row:
    columns = {name: Column(n=1, samples=taken) for name, taken in samples.items()}
    columns[BARE] = Column(n=1, samples=[9.0, 9.0, 9.0])
    return Row("loop-x", "x", "host", (), columns, "/s", (BARE,))


def test_ratios_of_each_loop() -> None:
    ours, stdlib, peer = [10.0, 10.0, 10.0], [20.0, 25.0, 30.0], [12.0, 12.0, 12.0]
    row = row_of(**{OURS: ours, STDLIB: stdlib, "peer": peer})
    assert row.ratio(BARE) == 0.9
    assert row.ratio(BEST_OTHER) == 1.2
    assert row.ratio(BEST_OTHER, STDLIB) == 0.4
    assert row.ratio(BARE, "peer") == 0.75
    del row.columns["peer"]
    assert row.ratio(BEST_OTHER) == 2.5
    assert row_of(**{STDLIB: stdlib}).ratio(BEST_OTHER) is None


def test_table_of_loops() -> None:
    row = row_of(**{STDLIB: [20.0, 20.0, 20.0], "peer": [10.0, 10.0, 10.0]})
    row.columns[STDLIB].wall_samples = [40.0, 40.0, 40.0]
    other = row_of()
    other.name = "lock"
    assert list(loop_cells([row, other])) == [
        ("x", STDLIB, "50,000,000/s ±0%", "25,000,000/s", "0.45×", "0.50×"),
        ("", "peer", "100,000,000/s ±0%", NONE, "0.90×", "2.00×"),
        ("", BARE, "111,111,111/s ±0%", NONE, NONE, NONE),
    ]


def test_growth_is_that_of_the_cost() -> None:
    series = Series("loop-connections", "title", "connections", "ns")
    for x, cost in ((10, 100.0), (1000, 150.0)):
        series.add(STDLIB, x, cost)
    series.add("peer", 10, 1.0)
    crowded, grown = growth.growth_rows(series)
    assert crowded.columns == {STDLIB: Column(n=1, samples=[150.0])}
    assert grown.columns == {STDLIB: Column(n=1, samples=[1.5])}
    assert quantity(grown.columns[STDLIB].median, grown.unit) == "1.50×"
    assert not list(growth.growth_rows(Series("", "", "", "")))
