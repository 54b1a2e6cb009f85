"""Does what the commands of ``airflow capillary`` say. Each exits with 0, or with 1 and one line that says why."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.utils.cli import action_cli
from airflow.utils.platform import getuser

from airflow_provider_capillary.cli import display
from airflow_provider_capillary.core.budget import parse_budget
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError
from airflow_provider_capillary.operators.ledger_location import open_ledger

if TYPE_CHECKING:
    from airflow_provider_capillary.ledger.facts import JobRecord, UnprovenRow
    from airflow_provider_capillary.ledger.ledger import Ledger

_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


def command(work: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Record the call in Airflow's log of actions, and print an error of this package as one line."""

    @wraps(work)
    def called(args: Namespace) -> None:
        try:
            work(args)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of a pipe, such as `head`, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except CapillaryError as error:
            sys.stderr.write(f"{' '.join(str(error).split())}\n")
            raise SystemExit(1) from None

    noted: Callable[[Namespace], None] = action_cli(called, check_db=False)  # type: ignore[no-untyped-call]  # of Airflow
    return noted


@command
def jobs(args: Namespace) -> None:
    """List imports, the newest first."""
    if args.limit < 1:
        raise ConfigurationError(f"--limit {args.limit} lists nothing; give 1 or more")
    with opened_ledger(args, only_reading=True) as ledger:
        rows = [display.job_row(job, _standing(ledger, job)) for job in ledger.jobs(args.limit, dag_id=args.dag_id)]
    display.print_rows(rows, args.output)


@command
def job(args: Namespace) -> None:
    """Show one import."""
    with opened_ledger(args, only_reading=True) as ledger:
        record = ledger.job(args.job_id)
        details = display.job_details(record, ledger.grants(args.job_id), _standing(ledger, record))
    display.print_details(details, args.output)


@command
def unknown(args: Namespace) -> None:
    """List rows of which nothing proves whether they were granted."""
    rows: list[UnprovenRow] = []
    with opened_ledger(args, only_reading=True) as ledger:
        ledger.job(args.job_id)
        for page in ledger.settlements.unproven(args.job_id):
            rows += page
    rows.sort(key=lambda row: row.badge.row_number)
    display.print_rows([display.unknown_row(row) for row in rows], args.output)


@command
def resolve(args: Namespace) -> None:
    """Settle unknown rows as the person who calls says."""
    from airflow_provider_capillary.jobs.reconcile import Action, ReconcileJob, ReconcileSettings

    resend = args.resolution == "resend"
    if resend and not args.row and not args.yes:
        _ask(f"Free ALL unknown rows of job {args.job_id}? Where one was granted, the next import grants it twice")
    settings = ReconcileSettings(
        action=Action.ACCEPT if args.resolution == "accepted" else Action.RESEND,
        by=person(),
        max_unknown=parse_budget("max_unknown", "100%"),  # what was not named stays as it is
        rows=frozenset(args.row) if args.row else None,
    )
    with opened_ledger(args) as ledger:
        result = ReconcileJob(ledger, [args.job_id], settings).run()
    counts = {"accepted": result.accepted, "resend": result.resend, "unknown": result.unknown}
    display.print_rows([{"job_id": args.job_id, "unknown_before": result.unknown_before, **counts}], args.output)


@command
def errors(args: Namespace) -> None:
    """Write ``errors.csv`` of one import to a file, whole or not at all."""
    from airflow_provider_capillary.reports.error_report import ERRORS_CSV, write_error_report

    with (
        opened_ledger(args, only_reading=True) as ledger,
        tempfile.TemporaryDirectory(prefix="capillary-errors-") as folder,
    ):
        ledger.job(args.job_id)
        report = write_error_report(ledger, [args.job_id], Path(folder))
        _move(Path(folder) / ERRORS_CSV, args.output.expanduser())
    sys.stdout.write(f"{report.facts.total.problems.rows:,} rows that were not accepted: {args.output}\n")
    for job in report.facts.jobs:
        if job.failure is not None:
            sys.stdout.write(f"The import {job.failure}\n")
        not_sent = 0 if job.counts is None or job.dry_run else job.counts["not_sent"]
        if unlisted := max(0, not_sent - job.problems.by_state["not_sent"]):
            sources = ", ".join(job.sources)
            sys.stdout.write(f"{unlisted:,} rows that were not sent stand in the dataset only: {sources}\n")


@command
def report(args: Namespace) -> None:
    """Write all files of the report of one import into a folder."""
    from airflow_provider_capillary.reports.destination import publish_files
    from airflow_provider_capillary.reports.error_report import write_error_report

    with (
        opened_ledger(args, only_reading=True) as ledger,
        tempfile.TemporaryDirectory(prefix="capillary-report-") as folder,
    ):
        ledger.job(args.job_id)
        written = write_error_report(ledger, [args.job_id], Path(folder))
        uris = publish_files(written.files, f"file://{args.output.expanduser().absolute()}")
    sys.stdout.write("".join(f"{uri}\n" for uri in uris))


@command
def revoke(args: Namespace) -> None:
    """Take back what one import granted; without ``--yes`` only count it."""
    from airflow_provider_capillary.jobs.organisation import Organisation
    from airflow_provider_capillary.jobs.revoke import RevokeJob
    from airflow_provider_capillary.operators.running_task import connected
    from airflow_provider_capillary.operators.witness_variable import witness_by_database

    by = person()
    with opened_ledger(args) as ledger:
        organisation = None
        if args.yes:
            with as_server():
                hook = connected(args.conn_id)
            witness_by_database(ledger, hook.organisation).compare()  # another ledger names other jobs and other ids
            organisation = Organisation(hook.get_conn(), hook.organisation, hook.requests_per_minute)
        result = RevokeJob(ledger, [args.job_id], organisation, by=by, import_again=args.import_again).run()
    display.print_details({"job_id": args.job_id, **result.as_dict()}, args.output)
    if not args.yes:
        sys.stderr.write("Dry run: nothing was revoked. Say --yes to take these badges back\n")
    if result.error is not None:
        raise result.error


@command
def test(args: Namespace) -> None:
    """Try a connection, reading only."""
    from airflow_provider_capillary.operators.running_task import connected

    with as_server():
        works, message = connected(args.conn_id).test_connection()
    if not works:
        raise ConfigurationError(message)
    sys.stdout.write(f"{message}\n")


@command
def customer(args: Namespace) -> None:
    """List all that the ledger holds of one customer."""
    with opened_ledger(args, only_reading=True) as ledger:
        rows = ledger.rows_of_customer(args.customer_id)
    display.print_rows([display.customer_row(row) for row in rows], args.output)


@command
def explain(args: Namespace) -> None:
    """Print what the names mean and what to do; without names, list them all."""
    from difflib import get_close_matches

    from airflow_provider_capillary.core.reasons import REGISTRY

    wanted = [name.strip("[],") for name in args.names]
    unknown = [name for name in wanted if name not in REGISTRY]
    if unknown:
        near = get_close_matches(unknown[0], REGISTRY, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; airflow capillary explain lists all names"
        raise ConfigurationError(f"no reason or error is called {', '.join(unknown)}{hint}")
    if not wanted:
        display.print_rows([{"name": one.name, "title": one.title} for one in REGISTRY.values()], args.output)
        return
    for name in wanted:
        entry = REGISTRY[name]
        facts = {"name": entry.name, "title": entry.title, "meaning": entry.meaning, "what to do": entry.to_do}
        display.print_details(facts, args.output)


def _standing(ledger: Ledger, job: JobRecord) -> dict[str, int] | None:
    """How many rows of a job are in which state, if the job has not counted them itself: it runs, or it died."""
    return None if job.has_account else ledger.standing(job.job_id)


def _ask(question: str) -> None:
    """Go on only if a person says yes."""
    try:
        answer = input(f"{question}. Type yes to go on: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was changed. Name rows with --row, or say --yes")


@command
def ledger_upgrade(args: Namespace) -> None:
    """Make the ledger's tables, or bring them up to date."""
    from airflow_provider_capillary.ledger.migrations.upgrade import HEAD

    with opened_ledger(args, make=True) as ledger:
        done = "was brought to" if ledger.was_upgraded else "stands at"
        sys.stdout.write(f"The ledger {ledger.description} {done} revision {HEAD}\n")


def simulator(args: Namespace) -> None:
    """Serve the simulator, with the options of its own command line."""
    from airflow_provider_capillary.cli.options import SIMULATOR_OPTIONS, SIMULATOR_SWITCHES
    from airflow_provider_capillary.simulator import command_line

    words: list[str] = []
    for option in (*SIMULATOR_OPTIONS, *SIMULATOR_SWITCHES):
        value = getattr(args, option.removeprefix("--").replace("-", "_"))
        if value is True:
            words.append(option)
        elif value not in (None, False):
            words.append(f"{option}={value}")
    raise SystemExit(command_line.main(words))


@contextmanager
def opened_ledger(
    args: Namespace, *, only_reading: bool = False, make: bool = False, without_wal: bool = False
) -> Iterator[Ledger]:
    """Open the ledger, wherever Airflow keeps the connection that names it, and say on stderr which one it is."""
    with as_server():
        ledger = open_ledger(args.ledger_conn_id, only_reading=only_reading, make=make, without_wal=without_wal)
    with closing(ledger):
        if not make:
            sys.stderr.write(f"Ledger: {ledger.description}\n")
        yield ledger


@contextmanager
def as_server() -> Iterator[None]:
    """See connections of the metadata database, as Airflow's own commands do."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CONTEXT]
        else:
            os.environ[_CONTEXT] = before


def person() -> str:
    """The person who calls, as the ledger records who said something."""
    return f"user {getuser()} on {socket.gethostname()}"


def _move(file: Path, target: Path) -> None:
    from airflow_provider_capillary.datasets.storage import Folder

    if not target.parent.is_dir():
        raise ConfigurationError(f"{target} cannot be written: there is no folder {target.parent}. Make it first")
    try:
        Folder(str(target.parent.absolute()), "--output").put(file, target.name)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror or error}") from None
