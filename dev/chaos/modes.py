"""All modes, how their campaigns differ from what is expected, and the table of them."""

from __future__ import annotations

from collections.abc import Iterable

from .expected_breaks import EXPECTED_BREAKS, Break
from .mode import ModeResult
from .modes_ledger import LEDGER_MODES
from .modes_reads import READ_MODES
from .modes_time import TIME_MODES
from .modes_wire import WIRE_MODES

MODES = {mode.name: mode for mode in (*TIME_MODES, *WIRE_MODES, *LEDGER_MODES, *READ_MODES)}  # the slow ones first
_NONE = Break(frozenset(), "holds")
_COLUMNS = {
    "granted twice": "twice",
    "of which unreported": "unreported",
    "lost": "lost",
    "reported accepted and not granted": "not_granted",
    "ids lost": "ids_lost",
    "unknown": "unknown",
}


def unexpected(results: Iterable[ModeResult], breaks: dict[str, Break] = EXPECTED_BREAKS) -> list[str]:
    """How campaigns differ from what is expected of their modes, for the worse or for the better."""
    said = []
    for name, of_mode in _by_mode(results).items():
        ran = [result for result in of_mode if not result.skipped]
        if not ran:
            continue
        broken = set[str]().union(*(result.broken(MODES[name]) for result in ran))
        expected = breaks.get(name, _NONE)
        said += [f"{name}: broken in {each}" for each in sorted(broken - expected.columns - expected.at_times)]
        said += [f"{name}: holds in {each}, so EXPECTED_BREAKS is wrong" for each in sorted(expected.columns - broken)]
    return said


def mode_table(results: Iterable[ModeResult]) -> str:
    """The table of ``docs/guarantees.md``, a row for each mode, in Markdown."""
    header = ["mode", "campaigns / rows", *_COLUMNS, "processes stuck", "expected"]
    lines = [header, ["---"] * len(header)]
    found = _by_mode(results)
    lines += [_line(name, found[name]) for name in MODES if name in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _by_mode(results: Iterable[ModeResult]) -> dict[str, list[ModeResult]]:
    by_mode: dict[str, list[ModeResult]] = {}
    for result in results:
        by_mode.setdefault(result.mode, []).append(result)
    return by_mode


def _line(name: str, results: list[ModeResult]) -> list[str]:
    skipped = next((result.skipped for result in results if result.skipped), "")
    if skipped:
        return [name, "0 / 0", *[""] * len(_COLUMNS), "", f"not run here: {skipped}"]
    rows = sum(result.difference.rows for result in results)
    counts = [sum(getattr(result.difference, field) for result in results) for field in _COLUMNS.values()]
    stuck = sum(result.stuck for result in results)
    return [
        name,
        f"{len(results)} / {rows:,}",
        *[f"{count:,}" for count in counts],
        f"{stuck}",
        EXPECTED_BREAKS.get(name, _NONE).reason,
    ]
