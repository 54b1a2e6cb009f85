"""``airflow capillary ...``: the commands and their options, which Airflow reads at every start of its command line.

Nothing that is slow to load may be imported here: each command is loaded when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command

from airflow_provider_capillary.cli.probe_options import probe_arguments
from airflow_provider_capillary.cli.seed_options import seed_arguments
from airflow_provider_capillary.cli.simulator_options import SIMULATOR_OPTIONS, SIMULATOR_SWITCHES

_PACKAGE = "airflow_provider_capillary.cli"


def _arg(*flags: str, **options: Any) -> Arg:
    return Arg(flags, **options)  # type: ignore[no-untyped-call]  # of Airflow


ARG_LEDGER = _arg(
    "--ledger-conn-id",
    help="Connection of the ledger (default: as configured for the operators, else the file under AIRFLOW_HOME)",
    metavar="CONN_ID",
)
ARG_JOB_ID = _arg("job_id", help="The job's id, as the import returned it and `airflow capillary jobs` lists it")
ARG_DAG_ID = _arg("--dag-id", help="Only jobs of this DAG")
ARG_LIMIT = _arg("--limit", help="At most so many jobs, the newest first (default: 20)", type=int, default=20)
ARG_AS = _arg(
    "--as",
    help="accepted: these rows were granted. resend: they were not; the next import sends them, and where that is "
    "wrong they are granted twice",
    choices=("accepted", "resend"),
    required=True,
    dest="resolution",
)
ARG_ROW = _arg(
    "--row",
    help="Only rows of these numbers, as `airflow capillary unknown` lists them (default: all unknown rows of the job)",
    type=int,
    nargs="+",
    action="extend",
    metavar="NUMBER",
)
ARG_FILE = _arg(
    "--output", help="Where to write the CSV file; it is replaced", type=Path, required=True, metavar="FILE"
)

ARG_DO_IT = _arg(
    "--yes", "-y", "--no-dry-run", help="Take the badges back; without it they are only counted", action="store_true"
)
ARG_IMPORT_AGAIN = _arg("--import-again", help="Let a later import grant the revoked rows again", action="store_true")
ARG_CONN = _arg("--conn-id", help="Connection of the import (default: capillary_default)", default="capillary_default")
ARG_TESTED_CONN = _arg("conn_id", help="The connection", metavar="CONN_ID")
ARG_CUSTOMER = _arg("customer_id", help="Capillary's own customer id", type=int)
ARG_FOLDER = _arg("--output", help="The folder for the files", type=Path, required=True, metavar="DIR")
ARG_CAPILLARY = _arg(
    "--capillary-conn-id",
    help="Connection of type capillary, whose organisation is meant (default: capillary_default)",
    default="capillary_default",
    metavar="CONN_ID",
)
ARG_ORGANISATION = _arg("--organisation", help="The organisation's name, instead of a connection's", metavar="NAME")
ARG_YES = _arg("-y", "--yes", help="Ask nothing", action="store_true")
_PLACE = "a connection's id, a SQLAlchemy URL, or the path of an SQLite file"
ARG_FROM = _arg("source", help=f"The ledger: {_PLACE}", metavar="FROM")
ARG_TO = _arg("target", help=f"Where to: {_PLACE}", metavar="TO")
ARG_BACKUP = _arg("file", help="The SQLite file to write; it must not be there yet", type=Path, metavar="FILE")
ARG_REASONS = _arg(
    "names", help="As they stand in brackets in a log, or in a report (default: list all)", nargs="*", metavar="NAME"
)
ARG_ACTION = _arg(
    "action", help="list (default), add or rename", choices=("list", "add", "rename"), nargs="?", default="list"
)
ARG_NAMES = _arg("names", help="add: the name. rename: the old name and the new one", nargs="*", metavar="NAME")


def get_capillary_cli_commands() -> list[GroupCommand]:
    """Give Airflow the group ``capillary``."""
    ledger = GroupCommand("ledger", "The ledger: its tables, its copies, which one counts", (*_ledger(), _seed()))
    subcommands = (*_telling(), *_settling(), *_trying(), _organisations(), _simulator(), _probe(), ledger)
    return [GroupCommand("capillary", "Badge imports into Capillary: jobs, unknown rows, ledger", subcommands)]


def _command(name: str, module: str = "commands") -> Callable[..., Any]:
    return lazy_load_command(f"{_PACKAGE}.{module}.{name}")


def _telling() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="jobs",
            help="List imports, the newest first",
            func=_command("jobs"),
            args=(ARG_DAG_ID, ARG_LIMIT, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="job",
            help="Tell of one import: counts, reasons, what was settled or revoked since",
            func=_command("job"),
            args=(ARG_JOB_ID, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="errors",
            help="Write errors.csv of an import: rows that were not accepted, to be mended and imported again",
            func=_command("errors"),
            args=(ARG_JOB_ID, ARG_FILE, ARG_LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="report",
            help="Write the report of an import (report.html, errors.csv, summary.json) into a folder",
            func=_command("report"),
            args=(ARG_JOB_ID, ARG_FOLDER, ARG_LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="customer",
            help="List all that the ledger holds of one customer",
            func=_command("customer"),
            args=(ARG_CUSTOMER, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="unknown",
            help="List the rows of an import of which nothing proves whether they were granted (with customer ids)",
            func=_command("unknown"),
            args=(ARG_JOB_ID, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="explain",
            help="Say what a reason or an error means, and what to do",
            func=_command("explain", "explain_command"),
            args=(ARG_REASONS, ARG_OUTPUT, ARG_VERBOSE),
        ),
    )


def _settling() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="resolve",
            help="Say what became of unknown rows; the ledger keeps who said so. Nothing is sent",
            func=_command("resolve"),
            args=(ARG_JOB_ID, ARG_AS, ARG_ROW, ARG_YES, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="revoke",
            help="Take back what an import granted, by the ids in the ledger; a dry run unless --yes is given",
            func=_command("revoke"),
            args=(ARG_JOB_ID, ARG_DO_IT, ARG_IMPORT_AGAIN, ARG_CONN, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
    )


def _trying() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="test",
            help="Try a connection: reads one badge, changes nothing, and says what to fix",
            func=_command("test"),
            args=(ARG_TESTED_CONN, ARG_VERBOSE),
        ),
    )


def _ledger() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="upgrade",
            help="Make the ledger's tables, or bring them up to date",
            func=_command("ledger_upgrade"),
            args=(ARG_LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="accept",
            help="Take the ledger by your word where Airflow expects another one, or a later state of it",
            func=_of_ledger("accept"),
            args=(ARG_CAPILLARY, ARG_ORGANISATION, ARG_YES, ARG_LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="copy",
            help="Copy a ledger, with its identity, to a place without one, and seal the source",
            func=_of_ledger("copy"),
            args=(ARG_FROM, ARG_TO, ARG_VERBOSE),
        ),
        ActionCommand(
            name="backup",
            help="Write all that the ledger holds at this moment to a new SQLite file; imports may go on",
            func=_of_ledger("backup"),
            args=(ARG_BACKUP, ARG_LEDGER, ARG_VERBOSE),
        ),
    )


def _seed() -> ActionCommand:
    return ActionCommand(
        name="seed",
        help="Note rows as granted outside the ledger, so that no import grants them again. Nothing is sent",
        description="For badges that another tool granted, and for a ledger that was lost: give an export of what the "
        "customers hold. Repeating it changes nothing.",
        func=_command("ledger_seed", "seed_command"),
        args=(*seed_arguments(_arg), ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _probe() -> ActionCommand:
    return ActionCommand(
        name="probe",
        help="First contact with an organisation: find out what to set. Grants up to three badges, and revokes them",
        description="Answers by trying: method, unit of instants, whether a repeated request id is refused, whether "
        "reads show imported badges, how and after how long. Grants one to three badges to the customer named, after "
        "one confirmation, and revokes them. Call it again if it was cut off: it revokes what was left.",
        func=_command("probe", "probe_command"),
        args=(*probe_arguments(_arg), ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _organisations() -> ActionCommand:
    return ActionCommand(
        name="organisations",
        help="List the organisations that the ledger knows, or: add NAME, rename OLD NEW",
        func=_of_ledger("organisations"),
        args=(ARG_ACTION, ARG_NAMES, ARG_LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _of_ledger(name: str) -> Callable[..., Any]:
    return lazy_load_command(f"airflow_provider_capillary.cli.ledger_commands.{name}")


def _simulator() -> ActionCommand:
    options = (_arg(name, help=text) for name, text in SIMULATOR_OPTIONS.items())
    switches = (_arg(name, help=text, action="store_true") for name, text in SIMULATOR_SWITCHES.items())
    return ActionCommand(
        name="simulator",
        help="Serve a local stand-in of the API until it is interrupted",
        func=_command("simulator"),
        args=(*options, *switches),
    )
