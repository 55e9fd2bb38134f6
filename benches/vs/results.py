"""What a run leaves behind: one JSON file with every sample."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.vs.growth import threads_run_at_once
from benches.vs.libraries import Library
from benches.vs.measure import Row, row_from_json
from benches.vs.series import Series, series_from_json

DIRECTORY = Path(__file__).parents[1] / "results"


@dataclass
class Results:
    """One run on one interpreter."""

    meta: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {
            "meta": self.meta,
            "rows": [row.as_json() for row in self.rows],
            "series": [series.as_json() for series in self.series],
        }
        path.write_text(json.dumps(shortened(data), indent=1) + "\n")


def load(path: Path) -> Results:
    data = json.loads(path.read_text())
    rows = [row_from_json(row) for row in data["rows"]]
    return Results(data["meta"], rows, [series_from_json(series) for series in data["series"]])


def shortened(data: Any) -> Any:
    """The same with floats of five digits, which is more than they mean."""
    if isinstance(data, float):
        return float(f"{data:.5g}")
    if isinstance(data, dict):
        return {key: shortened(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [shortened(value) for value in data]
    return data


def describe_run(libraries: Sequence[Library], notes: Sequence[str], mode: str) -> dict[str, Any]:
    """Where, when and on what the numbers were taken."""
    return {
        "tag": interpreter_tag(),
        "python": sys.version.split()[0] + ("" if not threads_run_at_once() else " free-threaded"),
        "compiler": platform.python_compiler(),
        "machine": cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "mode": mode,
        "libraries": {library.name: library.version for library in libraries},
        "notes": list(notes),
    }


def interpreter_tag() -> str:
    """As in the names of wheels: cp313, cp314t."""
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"cp{sys.version_info.major}{sys.version_info.minor}{free_threaded}"


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
