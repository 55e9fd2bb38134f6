"""A line chart on two logarithmic axes, as SVG: no more than the documentation needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from benches.vs.libraries import OURS, STDLIB
from benches.vs.tables import quantity

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 110, 30, 40
COLOURS = {
    OURS: "#d9480f",
    STDLIB: "#1c7ed6",
    "culsans": "#2b8a3e",
    "aiologic": "#862e9c",
    "janus": "#868e96",
}
STYLE = (
    "text{font:12px sans-serif;fill:#333}line{stroke:#8884}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


class Axis:
    """From values to pixels, with ticks at powers of ten."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = math.log10(low), math.log10(high)
        if self.high - self.low < 1e-9:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.first, self.last = first, last

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self) -> list[float]:
        powers = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        return [10.0**power for power in powers]


def whole_decades(values: list[float]) -> tuple[float, float]:
    """Limits that contain all values and at least one power of ten on each side."""
    low, high = min(values), max(values)
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high * 1.0001))


def line_chart(title: str, axis: str, unit: str, lines: Mapping[str, Mapping[int, float]]) -> str:
    """A chart of medians by library and by the number that grows."""
    xs = [float(x) for points in lines.values() for x in points]
    ys = [max(y, 0.01) for points in lines.values() for y in points.values()]
    across = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    up = Axis(*whole_decades(ys), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        text(LEFT, 16, title),
    ]
    for tick in up.ticks():
        parts.append(rule(LEFT, up(tick), WIDTH - RIGHT, up(tick)))
        parts.append(text(LEFT - 6, up(tick) + 4, quantity(tick, unit), "end"))
    for x in sorted(set(xs)):
        parts.append(rule(across(x), TOP, across(x), HEIGHT - BOTTOM))
        parts.append(text(across(x), HEIGHT - BOTTOM + 16, short_number(x), "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, axis, "middle"))
    parts += curves(lines, across, up)
    return "\n".join([*parts, "</svg>\n"])


def curves(lines: Mapping[str, Mapping[int, float]], across: Axis, up: Axis) -> list[str]:
    """The lines with their names at their ends, pushed apart where they would overlap."""
    parts, labels = [], []
    for name, points in lines.items():
        colour = COLOURS.get(name, "#495057")
        places = [(across(x), up(max(y, 0.01))) for x, y in sorted(points.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        width = 3 if name == OURS else 1.5
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        labels.append((places[-1][1], name, colour))
    lowest = -math.inf
    for y, name, colour in sorted(labels):
        lowest = max(y + 4, lowest + 14)
        parts.append(text(WIDTH - RIGHT + 8, lowest, name, colour=colour))
    return parts


def rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = "") -> str:
    style = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def short_number(value: float) -> str:
    """1, 300, 10k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
