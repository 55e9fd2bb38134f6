"""Measurements along an axis: how cost grows with a number."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Series:
    """Samples by column and by the number that grows.

    unit: ``ns`` or ``B``, each for one of what the title counts.
    """

    name: str
    title: str
    axis: str
    unit: str
    columns: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, column: str, x: int, sample: float) -> None:
        self.columns.setdefault(column, {}).setdefault(x, []).append(sample)

    def attempt(self, column: str, x: int, measure: Callable[[], float]) -> None:
        """Add what measure returns; note what it raises."""
        try:
            self.add(column, x, measure())
        except Exception as error:
            self.notes.append(f"{column} at {x}: {type(error).__name__}: {error}")

    def medians(self, column: str) -> dict[int, float]:
        samples = self.columns.get(column, {})
        return {x: statistics.median(samples[x]) for x in sorted(samples)}

    def xs(self) -> list[int]:
        return sorted({x for samples in self.columns.values() for x in samples})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def series_from_json(data: dict[str, Any]) -> Series:
    columns = {
        name: {int(x): values for x, values in samples.items()}
        for name, samples in data["columns"].items()
    }
    return Series(**(data | {"columns": columns}))
