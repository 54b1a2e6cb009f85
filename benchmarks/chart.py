"""Two bars for each contestant, as an SVG that needs nothing: rows a second, and CPU for a million rows."""

from __future__ import annotations

import statistics
from html import escape
from typing import Any

_LINE, _TOP, _NAMES, _WIDTH, _GAP = 34, 64, 230, 250, 90
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f } .head { font-weight: 600 }
.note { font-size: 11px; fill: #57606a }
.other { fill: #8c959f } .ours { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9da7b1 } .ours { fill: #3fb950 } }
</style>"""


def draw(facts: dict[str, Any]) -> str:
    """The chart of a measurement, as ``__main__`` writes it."""
    names = list(facts["contestants"])
    panels = [
        ("rows per second (longer is better)", "rows_per_second", "{:,.0f}"),
        ("CPU s per million rows (shorter is better)", "cpu_seconds_per_million", "{:,.1f}"),
    ]
    height = _TOP + _LINE * len(names) + 34
    width = _NAMES + 2 * (_WIDTH + _GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">', _STYLE]
    parts.append(_text(0, 18, f"{facts['rows']:,} rows, batches of {facts['batch_size']:,}", "head"))
    for line, name in enumerate(names):
        parts.append(_text(0, _middle(line), name))
    for panel, (title, key, form) in enumerate(panels):
        left = _NAMES + panel * (_WIDTH + _GAP)
        parts.append(_text(left, 44, title, "head"))
        medians = {name: statistics.median(facts["contestants"][name][key]) for name in names}
        longest = max(medians.values())
        for line, (name, value) in enumerate(medians.items()):
            ours = "ours" if name.startswith("this package") else "other"
            bar = max(1.0, value / longest * _WIDTH)
            parts.append(f'<rect class="{ours}" x="{left}" y="{_middle(line) - 15}" width="{bar:.1f}" height="20"/>')
            parts.append(_text(left + bar + 6, _middle(line), form.format(value)))
    note = f"medians of {facts['repeats']}, {facts['machine']}, {facts['date'][:10]}; bare: no account, replies unread"
    parts += [_text(0, height - 8, note, "note"), "</svg>"]
    return "\n".join(parts) + "\n"


def _middle(line: int) -> int:
    return _TOP + line * _LINE + 15


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(text)}</text>'
