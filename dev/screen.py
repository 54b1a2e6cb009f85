"""Prints the demo's progress: one line for each step, then the accounts side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dev.demo.accounts import PARTS, REPORTED, Accounts, Check


class Screen:
    """Calm output: on a terminal a step shows that it is at work, elsewhere only that it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show ``text`` while the step lasts, and how long it took."""
        began = time.monotonic()
        with self._console.status(f"{text} ..."):
            yield
        self.done(text, time.monotonic() - began)

    def done(self, text: str, seconds: float | None = None) -> None:
        """Report a step that is over."""
        lasted = "" if seconds is None else f" [dim]({seconds:.1f} s)[/]"
        self._console.print(f"[green]✓[/] {escape(text)}{lasted}", highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line as it stands, never broken or cut: it may hold a path."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def fail(self, text: str) -> None:
        """Report something that went wrong."""
        self._console.print(f"[red]✗[/] {escape(text)}", highlight=False, soft_wrap=True)

    def show_accounts(self, accounts: Accounts, requests: int) -> None:
        """Print the counts of the three parties."""
        table = Table(title="One import, three accounts", title_justify="left")
        table.add_column("rows")
        for party in ("Airflow's import task", "errors.csv", "simulator"):
            table.add_column(party, justify="right")
        for line in _lines(accounts, requests):
            table.add_row(*line)
        self._console.print(table)

    def show_reasons(self, reasons: Sequence[Mapping[str, Any]]) -> None:
        """Print why rows were not accepted. Texts of the API and of the dataset are untrusted, hence no markup."""
        for reason in reasons:
            code = f" {reason['code']}" if reason.get("code") else ""
            text = f"  {reason.get('rows', '?'):>6}  {reason.get('stage', '')}{code}: {reason.get('message', '')}"
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show_checks(self, checks: Sequence[Check]) -> None:
        """Print what was compared, and both numbers where they differ."""
        for check in checks:
            if check.holds:
                mark = f"[green]✓[/] {escape(check.meaning)} [dim]({check.left:,})[/]"
                self._console.print(mark, highlight=False, soft_wrap=True)
            else:
                self.fail(f"{check.meaning}: {check.left:,} and {check.right:,}")

    def show_end_of(self, log: Path, lines: int = 25) -> None:
        """Print the last lines of a log, where something went wrong."""
        text = log.read_text("utf-8", "replace") if log.exists() else ""
        for line in text.splitlines()[-lines:]:
            self._console.print(f"  {line}", style="dim", markup=False, highlight=False, soft_wrap=True)
        self.say(f"The whole log: {log}")


def _lines(accounts: Accounts, requests: int) -> Iterator[tuple[str, str, str, str]]:
    said = accounts.summary
    yield "read", _number(said.get("rows_read")), "", ""
    for part in PARTS:
        granted = _number(len(accounts.granted_now)) if part == "accepted" else ""
        yield part.replace("_", " "), _number(said.get(part)), "", granted
        if part == REPORTED[-1]:
            yield (
                "  not accepted, in all",
                _number(sum(said.get(name, 0) for name in REPORTED)),
                _number(accounts.reported_rows),
                "",
            )
    yield "requests", _number(said.get("requests")), "", _number(requests)


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"
