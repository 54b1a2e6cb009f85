"""The error report of one import of which every other row was refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .dataset import write_dataset
from .script import run
from .servers import connection_of, fresh_state
from .sink_process import running_sink


def measure(given: argparse.Namespace, folder: Path, postgres: Path) -> dict[str, Any]:
    """Each size on both ledgers."""
    rows = []
    for size in given.report_rows:
        dataset = write_dataset(folder / f"refused-{size}.parquet", size * 2)
        for ledger in given.ledgers:
            state = fresh_state(folder, postgres)
            connection = connection_of(postgres) if ledger == "PostgreSQL" else ""
            with running_sink(refuse_every=2) as sink:
                facts = run("reporting.py", state, dataset, sink.url, state, connection)
            assert facts.rows == size
            rows.append(
                {
                    "ledger": ledger,
                    "rows_reported": size,
                    "seconds": facts.seconds,
                    "rows_per_second": facts.rows_per_second,
                    "memory_peak_mib": facts.memory_peak / 2**20,
                }
            )
    return {"measured": rows}


def table(facts: dict[str, Any]) -> str:
    """One line for each size on each ledger."""
    lines = [
        "Report (errors.csv, summary.json, report.html)",
        f"{'ledger':12}{'rows in it':>12}{'s':>8}{'rows/s':>10}{'MiB':>7}",
    ]
    lines += [
        f"{one['ledger']:12}{one['rows_reported']:>12,}{one['seconds']:>8.2f}{one['rows_per_second']:>10,.0f}"
        f"{one['memory_peak_mib']:>7.0f}"
        for one in facts["measured"]
    ]
    return "\n".join(lines) + "\n"
