"""The import beside other ways to do it, all in turns in one run; what each grants twice and shows green."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .contestants import CONTESTANTS, HTTP_HOOK, Contestant
from .dataset import write_dataset
from .measurement import Cost, Setting, cost, granted_twice_after_a_kill, green_though_refused
from .sink_process import running_sink


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Speed, CPU and memory of each, then the two faults. Environments of peers are kept in ``given.folder``."""
    chosen = [one for one in CONTESTANTS if any(part in one.name for part in given.only.split(","))]
    rows = write_dataset(folder / "rows.parquet", given.rows)
    setting = Setting(given.folder, rows, given.rows, given.batch_size, postgres)
    costs = _costs(chosen, setting, given.repeats)
    few = write_dataset(folder / "few.parquet", given.fault_rows)
    faults = _faults(chosen, replace(setting, dataset=few, rows=given.fault_rows))
    return _report(given, costs, faults)


def _costs(chosen: Sequence[Contestant], setting: Setting, repeats: int) -> dict[str, list[Cost]]:
    found: dict[str, list[Cost]] = {one.name: [] for one in chosen}
    with running_sink() as sink:
        for number in range(1, repeats + 1):
            for one in chosen:
                found[one.name].append(cost(one, setting, sink))
                last = found[one.name][-1]
                _say(f"{number}/{repeats} {one.name}: {setting.rows / last.seconds:,.0f} rows/s, {last.cpu:.1f} s CPU")
    return found


def _faults(chosen: Sequence[Contestant], setting: Setting) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    with running_sink(20, count=True) as sink, running_sink(count=True, refuse_every=100) as refusing:
        for one in chosen:
            if one.keeps_account:
                twice = granted_twice_after_a_kill(one, setting, sink)
                green = green_though_refused(one, setting, refusing)
                found[one.name] = {"granted_twice": twice, "green_though_refused": green}
                _say(f"{one.name}: {twice:,} granted twice after a kill, {green:,} green though refused")
    return found


def _report(
    given: argparse.Namespace, costs: dict[str, list[Cost]], faults: dict[str, dict[str, int]]
) -> dict[str, Any]:
    per_name = {
        name: {
            "rows_per_second": [given.rows / one.seconds for one in all_of_it],
            "cpu_seconds_per_million": [one.cpu / given.rows * 1e6 for one in all_of_it],
            "memory_peak_mib": [one.memory_peak / 2**20 for one in all_of_it],
            "measured": [asdict(one) for one in all_of_it],
            **faults.get(name, {}),
        }
        for name, all_of_it in costs.items()
    }
    return {
        "rows": given.rows,
        "batch_size": given.batch_size,
        "repeats": given.repeats,
        "fault_rows": given.fault_rows,
        "contestants": per_name,
    }


def table(facts: dict[str, Any]) -> str:
    """The table for a terminal: medians, the span of speed, and the ratio to the loop of the same round."""
    lines = [
        f"{facts['rows']:,} rows, batches of {facts['batch_size']:,}, medians of {facts['repeats']}; "
        f"faults with {facts['fault_rows']:,} rows",
        f"{'':34}{'rows/s':>10} {'(min - max)':>19} {'ratio':>7} {'CPU s/M':>8} {'MiB':>6} {'twice':>8} {'green*':>8}",
    ]
    base = facts["contestants"].get(HTTP_HOOK)
    for name, one in facts["contestants"].items():
        speeds = one["rows_per_second"]
        speed, cpu, memory = (
            statistics.median(one[key]) for key in ("rows_per_second", "cpu_seconds_per_million", "memory_peak_mib")
        )
        span = f"({min(speeds):,.0f} - {max(speeds):,.0f})"
        ratio = f"{_ratio(speeds, base['rows_per_second']):.2f}" if base else ""
        twice, green = (_or_none(one.get(key)) for key in ("granted_twice", "green_though_refused"))
        lines.append(f"{name:34}{speed:>10,.0f} {span:>19} {ratio:>7} {cpu:>8.1f} {memory:>6.0f} {twice:>8} {green:>8}")
    lines.append("twice: granted twice after one kill -9 and a retry. green*: shown as imported, 1 % being refused.")
    return "\n".join(lines) + "\n"


def _ratio(speeds: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios within each round: the machine itself may be faster in one than in another."""
    return statistics.median(speed / other for speed, other in zip(speeds, base, strict=True))


def _or_none(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
