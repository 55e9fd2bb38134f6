"""The benchmarks' page has the charts that it links, and no others."""

from __future__ import annotations

import re
import threading as stdlib
from pathlib import Path

from benches.vs.documents import write_page
from benches.vs.libraries import OURS, STDLIB
from benches.vs.memory import OBJECTS
from benches.vs.results import Results
from benches.vs.series import Series
from counterpoint import threading

DOCS = Path(__file__).parents[2] / "docs"


def linked(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return set(re.findall(rf"\({page.stem}-charts/([^)]+)\)", text))


def kept(tag: str, *names: str) -> Results:
    libraries = {OURS: "1", STDLIB: "3"}
    meta = {"tag": tag, "python": tag, "libraries": libraries, "notes": [], "time": "now"}
    meta |= {"mode": "quick", "cpus": 2, "machine": "this", "load": 0.0}
    many = [Series(name, name, "items", "ns") for name in names]
    for series in many:
        for library in libraries:
            series.add(library, 10, 5.0)
            series.add(library, 100, 6.0)
    return Results(meta, [], many)


def test_every_chart_is_linked() -> None:
    charts = {path.name for path in (DOCS / "benchmarks-charts").iterdir()}
    assert charts == linked(DOCS / "benchmarks.md")


def test_a_new_page_removes_the_charts_of_an_old_one(tmp_path: Path) -> None:
    page, charts = tmp_path / "page.md", tmp_path / "page-charts"
    write_page(page, [kept("cp311", "here", "gone")])
    assert {path.name for path in charts.iterdir()} == {"cp311-here.svg", "cp311-gone.svg"}
    write_page(page, [kept("cp311", "here"), kept("cp313", "here")])
    assert {path.name for path in charts.iterdir()} == {"cp313-here.svg"} == linked(page)


def test_the_bytes_of_every_lock_of_the_stdlib_are_measured() -> None:
    homes = {name: getattr(threading, name) for name in dir(stdlib) if name in threading.__all__}
    ours = (name for name, each in homes.items() if isinstance(each, type))
    locks = {name for name in ours if homes[name].__module__ == threading.__name__}
    assert "Lock" in locks
    assert locks <= set(OBJECTS)
