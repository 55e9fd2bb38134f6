"""Prints results; with rich where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benches.vs.results import Results
from benches.vs.tables import (
    HEAD,
    LOOP_HEAD,
    failures,
    gaps,
    loop_cells,
    losses,
    row_cells,
    series_cells,
    unmeasured,
)


def print_results(results: Results) -> None:
    for note in results.meta["notes"]:
        print(note)
    if results.rows:
        lines = [row_cells(row) for row in results.rows]
        print_table(f"CPython {results.meta['python']}, {results.meta['mode']}", HEAD, lines)
    if lines := list(loop_cells(results.rows)):
        print_table("Event loops, of the CPU time of the process", LOOP_HEAD, lines)
    for series in results.series:
        head, lines = series_cells(series)
        print_table(f"{series.title}, each", head, lines)
        for note in gaps(series):
            print(f"  {note}")
    print_list("Losses", losses(results.rows))
    print_list("Demands that are not met", failures(results.rows, close=True))
    print_list("Not measured", unmeasured(results.rows, results.meta["libraries"]))


def print_list(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        print(f"\n{title}:")
        for sentence in sentences:
            print(f"  {sentence}")


def print_table(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print_plainly(title, head, lines)
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 or name == "others" else "right")
    for line in lines:
        styles = {"pass": "green", "FAIL": "bold red", "close": "yellow"}
        table.add_row(*(Text(text, style=styles.get(text.split(",")[0], "")) for text in line))
    # Not cut to a terminal's width where there is none: logs are read too.
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def print_plainly(title: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    print(f"\n{title}")
    for line in (head, *lines):
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


class Progress:
    """One line on a terminal that says what is being measured; nothing in a log."""

    def __init__(self) -> None:
        self.shown = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self.shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        self("")
