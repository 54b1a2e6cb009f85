"""``python -m benchmarks``: the import beside other ways to do it, and what latency, size and a full ledger cost.

Each measurement is a process of its own. Compare the ratios: the seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import extraction, folders, growth, latency, limits, partitions, peers, reading, reporting, steps
from .chart import draw
from .servers import running_postgres
from .versions import versions

ROOT = Path(__file__).parents[1]
PARTS = {
    "peers": peers,
    "steps": steps,
    "latency": latency,
    "limits": limits,
    "growth": growth,
    "partitions": partitions,
    "reporting": reporting,
    "extraction": extraction,
    "reading": reading,
    "folders": folders,
}
LEDGERS = ["SQLite", "PostgreSQL"]
DATABASES = [*LEDGERS, "DuckDB"]


def main() -> int:
    """Measure, print, write."""
    given = _parser().parse_args()
    given.folder.mkdir(exist_ok=True)
    for name in given.parts:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            postgres = stack.enter_context(running_postgres())
            before = _processor_ticks()
            facts = _header() | PARTS[name].measure(given, folder, postgres)
            facts["stolen"] = _stolen(before, _processor_ticks())
        text = f"{facts['machine']}, {facts['date']}; {_of_others(facts['stolen'])}\n{PARTS[name].table(facts)}"
        sys.stdout.write(f"{text}\n")
        given.results.mkdir(parents=True, exist_ok=True)
        (given.results / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        (given.results / f"{name}.txt").write_text(text, encoding="utf-8")
        if name == "peers":
            given.chart.parent.mkdir(parents=True, exist_ok=True)
            given.chart.write_text(draw(facts), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--parts", type=_names(PARTS), default=list(PARTS), help=_one_of(PARTS))
    parser.add_argument("--ledgers", type=_names(LEDGERS), default=LEDGERS, help=_one_of(LEDGERS))
    parser.add_argument("--databases", type=_names(DATABASES), default=DATABASES, help=_one_of(DATABASES))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=1_000)
    parser.add_argument("--fault-rows", type=int, default=50_000, help="rows of the two tests with faults")
    parser.add_argument("--only", default="", help="parts of peers' names, by commas")
    parser.add_argument("--latency-rows", type=int, default=100_000, help="for each request in flight, up to --rows")
    parser.add_argument("--sizes", type=_numbers, default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--ledger-rows", type=_numbers, default=[0, 10_000_000, 50_000_000])
    parser.add_argument("--report-rows", type=_numbers, default=[10_000, 100_000])
    parser.add_argument("--extract-rows", type=_numbers, default=[100_000, 5_000_000])
    parser.add_argument("--read-rows", type=_numbers, default=[1_000_000, 10_000_000])
    parser.add_argument("--folder-files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="environments of the peers are kept here")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--chart", type=Path, default=ROOT / "docs" / "images" / "speed.svg")
    return parser


def _names(known: Collection[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none {_one_of(known)}")
        return text.split(",")

    return names


def _one_of(known: Collection[str]) -> str:
    return f"of {', '.join(known)}; more than one by commas"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _processor_ticks() -> list[int]:
    """Of all processors since the start: user, nice, system, idle, iowait, irq, softirq, steal; none if not given."""
    try:
        return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return []


def _stolen(before: list[int], after: list[int]) -> float | None:
    """The share of time that the host gave to others while a process here wanted it."""
    ticks = [later - earlier for earlier, later in zip(before, after, strict=True)]
    wanted = sum(ticks) - sum(ticks[3:5])
    return ticks[7] / wanted if wanted else None


def _of_others(stolen: float | None) -> str:
    return "time taken by the host is not known" if stolen is None else f"{stolen:.0%} of the time taken by the host"


def _header() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
