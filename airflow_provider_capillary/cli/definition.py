"""Defines the commands of ``airflow capillary`` and their options.

Airflow reads this module at every start of its command line. So nothing that is slow to load may be imported here;
each command loads what it needs when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ActionCommand, GroupCommand, lazy_load_command

from airflow_provider_capillary.cli import options

_PACKAGE = "airflow_provider_capillary.cli"


def get_capillary_cli_commands() -> list[GroupCommand]:
    """Give Airflow the group ``capillary``."""
    ledger = GroupCommand("ledger", "The ledger: its tables, its copies, which one counts", (*_ledger(), _seed()))
    subcommands = (*_showing(), *_settling(), *_trying(), _organisations(), _simulator(), _probe(), ledger)
    return [GroupCommand("capillary", "Badge imports into Capillary: jobs, unknown rows, ledger", subcommands)]


def _command(name: str, module: str = "commands") -> Callable[..., Any]:
    return lazy_load_command(f"{_PACKAGE}.{module}.{name}")


def _showing() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="jobs",
            help="List imports, the newest first",
            func=_command("jobs"),
            args=(options.DAG_ID, options.LIMIT, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="job",
            help="Show one import: counts, reasons, what was settled or revoked since",
            func=_command("job"),
            args=(options.JOB_ID, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="errors",
            help="Write errors.csv of an import: rows that were not accepted, to correct and import again",
            func=_command("errors"),
            args=(options.JOB_ID, options.FILE, options.LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="report",
            help="Write the report of an import (report.html, errors.csv, summary.json) into a folder",
            func=_command("report"),
            args=(options.JOB_ID, options.FOLDER, options.LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="customer",
            help="List all that the ledger holds of one customer",
            func=_command("customer"),
            args=(options.CUSTOMER, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="unknown",
            help="List the unknown rows of an import: nothing proves whether they were granted (shows customer ids)",
            func=_command("unknown"),
            args=(options.JOB_ID, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="explain",
            help="Say what a reason or an error means, and what to do",
            func=_command("explain"),
            args=(options.REASONS, ARG_OUTPUT, ARG_VERBOSE),
        ),
    )


def _settling() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="resolve",
            help="Say whether unknown rows were granted; the ledger records who said so. Nothing is sent",
            func=_command("resolve"),
            args=(options.JOB_ID, options.AS, options.ROW, options.YES, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="revoke",
            help="Take back what an import granted, by the ids in the ledger; a dry run unless --yes is given",
            func=_command("revoke"),
            args=(
                options.JOB_ID,
                options.DO_IT,
                options.IMPORT_AGAIN,
                options.CONN,
                options.LEDGER,
                ARG_OUTPUT,
                ARG_VERBOSE,
            ),
        ),
    )


def _trying() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="test",
            help="Try a connection: reads one badge, changes nothing, and says what to fix",
            func=_command("test"),
            args=(options.TESTED_CONN, ARG_VERBOSE),
        ),
    )


def _ledger() -> tuple[ActionCommand, ...]:
    return (
        ActionCommand(
            name="upgrade",
            help="Make the ledger's tables, or bring them up to date",
            func=_command("ledger_upgrade"),
            args=(options.LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="accept",
            help="Go on with this ledger although Airflow expects another one, or a later state of it",
            func=_of_ledger("accept"),
            args=(options.CAPILLARY, options.ORGANISATION, options.YES, options.LEDGER, ARG_VERBOSE),
        ),
        ActionCommand(
            name="copy",
            help="Copy a ledger, with its identity, to a place without one, and seal the source",
            func=_of_ledger("copy"),
            args=(options.FROM, options.TO, ARG_VERBOSE),
        ),
        ActionCommand(
            name="backup",
            help="Write all that the ledger holds at this moment to a new SQLite file; imports may go on",
            func=_of_ledger("backup"),
            args=(options.BACKUP, options.LEDGER, ARG_VERBOSE),
        ),
    )


def _seed() -> ActionCommand:
    return ActionCommand(
        name="seed",
        help="Record rows as granted outside the ledger, so that no import grants them again. Nothing is sent",
        description="For badges that another tool granted, and for a ledger that was lost: give an export of what the "
        "customers hold. Repeating it changes nothing.",
        func=_command("ledger_seed", "seed_command"),
        args=(*options.SEED_ARGUMENTS, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _probe() -> ActionCommand:
    return ActionCommand(
        name="probe",
        help="First contact with an organisation: find out what to set. Grants up to three badges, and revokes them",
        description="Answers by trying: method, unit of instants, whether a repeated request id is refused, whether "
        "reads show imported badges, how and after how long. Grants one to three badges to the customer named, after "
        "one confirmation, and revokes them. Call it again if it was cut off: it revokes what was left.",
        func=_command("probe", "probe_command"),
        args=(*options.PROBE_ARGUMENTS, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _organisations() -> ActionCommand:
    return ActionCommand(
        name="organisations",
        help="List the organisations that the ledger knows, or: add NAME, rename OLD NEW",
        func=_of_ledger("organisations"),
        args=(options.ACTION, options.NAMES, options.LEDGER, ARG_OUTPUT, ARG_VERBOSE),
    )


def _of_ledger(name: str) -> Callable[..., Any]:
    return _command(name, "ledger_commands")


def _simulator() -> ActionCommand:
    return ActionCommand(
        name="simulator",
        help="Serve a local stand-in of the API until it is interrupted",
        func=_command("simulator"),
        args=options.SIMULATOR_ARGUMENTS,
    )
