"""Does what ``airflow capillary ledger ...`` and ``airflow capillary organisations`` say."""

from __future__ import annotations

import socket
import sys
from argparse import Namespace
from contextlib import closing
from datetime import UTC, datetime

from airflow.utils.platform import getuser

from airflow_provider_capillary.cli import display
from airflow_provider_capillary.cli.commands import as_server, command, opened_ledger
from airflow_provider_capillary.core.witness import decode
from airflow_provider_capillary.exceptions import ConfigurationError, WitnessUnavailableError
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.operators.ledger_location import ledger_at, place_url
from airflow_provider_capillary.operators.witness_variable import DatabaseVariable


@command
def accept(args: Namespace) -> None:
    """Go on with the ledger given, whatever Airflow expected, because a person says so."""
    from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness

    with as_server():
        organisation = args.organisation or CapillaryBadgeHook(args.capillary_conn_id).organisation
    with opened_ledger(args, without_wal=True) as ledger:
        store = DatabaseVariable(organisation)
        text = store.read()
        expected = None if text is None else decode(text)
        found = ledger.state()
        sys.stdout.write(
            f"Organisation {organisation!r}.\nExpected: "
            + (f"ledger {expected.ledger_id} at {expected.ledger}, {expected.noted_at}" if expected else "any ledger")
            + f"\nFound:    ledger {found.ledger_id} at {ledger.description}, "
            + ("without a job\n" if found.is_empty else "with jobs\n")
            + "What this ledger does not know would be granted again by imports of the same rows.\n"
        )
        _confirm("Take this ledger?", args.yes)
        LedgerWitness(store, ledger, organisation).accept(f"{getuser()} on {socket.gethostname()}")
    sys.stdout.write("The ledger is taken: the next import goes on with it.\n")


@command
def copy(args: Namespace) -> None:
    """Copy a ledger with its identity to another place, and seal the source."""
    from airflow_provider_capillary.ledger.copying import move_ledger

    with as_server():
        source, target = place_url(args.source), place_url(args.target)
    with closing(ledger_at(source, must_exist=True)) as ledger:
        rows = move_ledger(ledger, target)
        with closing(ledger_at(target, must_exist=True)) as new:
            sys.stdout.write(
                f"Copied {rows:,} rows from {ledger.description} to {new.description}. The source is sealed: set "
                "ledger_conn_id to the new place before the next import.\n"
            )


@command
def backup(args: Namespace) -> None:
    """Write all that a ledger holds at one moment to a new SQLite file."""
    from airflow_provider_capillary.ledger.copying import copy_ledger

    file = args.file.expanduser().absolute()
    if file.exists():
        raise ConfigurationError(f"{file} is there already. Nothing was written; give a new name")
    with opened_ledger(args, only_reading=True) as ledger:
        try:
            rows = copy_ledger(ledger, f"sqlite:///{file}")
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    sys.stdout.write(f"{rows:,} rows: {file}\n")


@command
def organisations(args: Namespace) -> None:
    """List, add or rename organisations."""
    count = {"list": 0, "add": 1, "rename": 2}[args.action]
    if len(args.names) != count:
        raise ConfigurationError(
            f"organisations {args.action} takes {count} names, and was given {len(args.names)}. "
            "Write: organisations, organisations add NAME, or organisations rename OLD NEW"
        )
    if args.action == "list":
        with opened_ledger(args, only_reading=True) as ledger:
            found = ledger.organisations()
        rows = [
            {
                "organisation": one.name,
                "host": one.host,
                "jobs": one.jobs,
                "last_job": None if one.last_job is None else _iso(one.last_job),
                "holds_grants": one.holds_grants,
            }
            for one in found
        ]
        display.print_rows(rows, args.output)
    elif args.action == "add":
        with opened_ledger(args) as ledger:
            done = "is known from now on" if ledger.add_organisation(args.names[0]) else "was known already"
        sys.stdout.write(f"The organisation {args.names[0]!r} {done}.\n")
    else:
        _rename(args, *args.names)


def _rename(args: Namespace, old: str, new: str) -> None:
    with opened_ledger(args) as ledger:
        ledger.rename_organisation(old, new)
    sys.stdout.write(f"The organisation {old!r} is {new!r} in the ledger.\n")
    before, after = DatabaseVariable(old), DatabaseVariable(new)
    try:
        text = before.read()
        if text is not None and before.key != after.key:
            after.write(text)
            before.delete()
    except WitnessUnavailableError as error:
        raise WitnessUnavailableError(
            f"it was renamed in the ledger, but Airflow's witness was not: {error}. Until the next import of {new!r} "
            "has begun, nothing notices if it uses another ledger"
        ) from error


def _confirm(question: str, is_answered: bool) -> None:
    if is_answered:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("this asks a question, and no terminal answers. Nothing was changed; add --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was changed")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
