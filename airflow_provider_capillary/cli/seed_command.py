"""Does what ``airflow capillary ledger seed`` says: records the rows of a dataset as granted outside the ledger."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from contextlib import closing

import msgspec

from airflow_provider_capillary.cli import display
from airflow_provider_capillary.cli.commands import as_server, command, opened_ledger, person
from airflow_provider_capillary.core.seeding import seed_choices
from airflow_provider_capillary.datasets.formats import read_options
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.jobs.seed import Seeded, SeedJob, seed_settings
from airflow_provider_capillary.ledger.facts import JobScope
from airflow_provider_capillary.operators.running_task import connected
from airflow_provider_capillary.operators.witness_variable import witness_by_database

_SHOWN = ("rows_read", "seeded", "settled", "already_held", "repeated", "in_flight", "invalid", "not_seeded")


@command
def ledger_seed(args: Namespace) -> None:
    """Record the rows of a dataset as granted outside the ledger."""
    result = _seeded(args)
    facts = {name: result.as_dict()[name] for name in ("job_id", *_SHOWN, "dry_run", "ledger", "reasons")}
    display.print_details(facts, args.output)
    if result.error is not None:
        raise result.error


def _seeded(args: Namespace) -> Seeded:
    settings = seed_settings(
        field_mapping=_mapping(args.field_mapping),
        timezone=args.timezone,
        timestamp_unit=args.timestamp_unit,
        max_invalid=args.max_invalid,
        dry_run=args.dry_run,
    )
    required = seed_choices(settings.field_mapping).required
    options = read_options(args.dataset_format, args.csv_delimiter)
    with as_server():
        hook = connected(args.capillary_conn_id)
        organisation, host = hook.organisation, hook.settings.client.base_url
        dataset = open_dataset(list(args.dataset), required_columns=required, options=options)
    with closing(dataset), opened_ledger(args, make=True) as ledger:
        # Each call is a run of its own. Rows that it repeats are counted as already held.
        scope = JobScope("airflow capillary", "ledger seed", f"{person()}, {time.time_ns()}")
        witness = witness_by_database(ledger, organisation)
        return SeedJob(dataset, organisation, host, ledger, scope, settings, by=person(), witness=witness).run()


def _mapping(text: str | None) -> Mapping[str, str] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f'--field-mapping is no JSON object of names: {error}. Give it as in \'{{"earnEventDate": "earnedOn"}}\''
        ) from None
