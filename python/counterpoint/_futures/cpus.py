"""How many workers a pool has by default: what this process may use, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["default_workers", "usable_cpus"]

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def default_workers() -> int:
    """The stdlib's `min(32, cpus + 4)`, of the CPUs that this process may use."""
    return min(32, usable_cpus() + 4)


def usable_cpus() -> int:
    """CPUs by affinity and, if that is less, by the CPU quota of the control group."""
    quota = cgroup_quota(_CGROUPS, _MEMBERSHIP)
    cpus = _affinity()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def _affinity() -> int:
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        return count() or 1
    return len(os.sched_getaffinity(0)) or 1


def cgroup_quota(root: Path, membership: Path) -> float | None:
    """CPUs that the control group and those above it allow; None where there is no limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = [quota for line in lines for quota in _quotas(root, *line.split(":", 2)[1:])]
    return min(quotas, default=None)


def _quotas(root: Path, controllers: str, path: str) -> list[float]:
    if controllers and "cpu" not in controllers.split(","):
        return []
    base = root if not controllers else root / "cpu"
    read = _version1 if controllers else _version2
    # In a container the path is often that of the host, and the mount is the group itself.
    group = base / path.lstrip("/")
    groups = [group, *(p for p in group.parents if p == base or base in p.parents)]
    return [quota for group in groups if (quota := read(group)) is not None]


def _version2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and int(period or 0) > 0 else None


def _version1(group: Path) -> float | None:
    quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdecimal() and int(period or 0) > 0 else None


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
