"""Horizontal bars as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, LABEL, ROW, GAP = 760, 190, 26, 46
STYLE = """\
text { font: 14px system-ui, sans-serif; fill: #24292f }
.head { font-weight: 600 }
.ours { fill: #1f7a4d } .bar { fill: #8b949e }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #3fb979 } }
"""


def bars_picture(figures: Mapping[str, Mapping[str, float]], ours: str = "switchboard") -> str:
    """One group of bars for each figure, each with its values by contender."""
    body, y = [], 30
    for head, values in figures.items():
        body.append(f'<text class="head" x="0" y="{y}">{escape(head)}</text>')
        most = max(values.values(), default=1.0) or 1.0
        for name, value in values.items():
            y += ROW
            body.append(_bar(name, value, most, y, ours=name == ours))
        y += GAP
    height = max(y - 20, 40)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="Benchmark results">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def _bar(name: str, value: float, most: float, y: int, *, ours: bool) -> str:
    length = max(2.0, (WIDTH - LABEL - 80) * value / most)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    kind = "ours" if ours else "bar"
    return (
        f'<text x="0" y="{y}">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LABEL}" y="{y - 13}" width="{length:.0f}" height="16" rx="2"/>'
        f'<text x="{LABEL + length + 8:.0f}" y="{y}">{shown}</text>'
    )
