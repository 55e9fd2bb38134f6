"""How many workers a pool has by default: by the CPUs that the process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from counterpoint._futures import cpus as cpus_module
from counterpoint._futures.cpus import cgroup_quota, usable_cpus
from counterpoint.futures import ThreadPoolExecutor
from tests.support import succeeds


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_default_workers_go_by_the_affinity() -> None:
    program = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from counterpoint._futures.cpus import usable_cpus\n"
        "from counterpoint.futures import ThreadPoolExecutor\n"
        "print(usable_cpus(), ThreadPoolExecutor()._max_workers)\n"
    )
    assert succeeds(program) == "1 5\n"


@pytest.mark.parametrize(
    ("cpus", "quota", "usable", "workers"),
    [
        (8, "max 100000", 8, 12),
        (8, "250000 100000", 3, 7),
        (8, "900000 100000", 8, 12),
        (8, "10000 100000", 1, 5),
        (1, "250000 100000", 1, 5),
        (64, "max 100000", 64, 32),
    ],
)
def test_default_workers_go_by_affinity_and_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cpus: int,
    quota: str,
    usable: int,
    workers: int,
) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    (tmp_path / "membership").write_text("0::/\n")
    monkeypatch.setattr(cpus_module, "_CGROUPS", tmp_path)
    monkeypatch.setattr(cpus_module, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    monkeypatch.setattr(os, "process_cpu_count", lambda: cpus, raising=False)
    assert usable_cpus() == usable
    assert ThreadPoolExecutor()._max_workers == workers


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 100000"}, "0::/a/b", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", None),
        (
            {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/x\n3:memory:/y",
            2.5,
        ),
        ({}, "0::/gone", None),
    ],
)
def test_quota(tmp_path: Path, files: dict[str, str], membership: str, quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    assert cgroup_quota(tmp_path, tmp_path / "membership") == quota
