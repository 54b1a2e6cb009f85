"""Updates report entries that say "unknown" only because another row was unknown, once that one is settled.

Such a row repeats an unknown row of its dataset, or a later job has taken it over. It ends in the same way as the
ledger's row of the same identity.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import tzinfo

import msgspec

from airflow_provider_capillary.core.column_choice import column_choices, resolve_columns
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.field_mapping import RowReader
from airflow_provider_capillary.core.planning import Held
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.timestamps import named_zone
from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.jobs.settings import OnDuplicate
from airflow_provider_capillary.ledger.facts import DependentRow, Job, RowEnd
from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_GRANTED = (RowState.ALREADY_ACCEPTED, "the same badge was accepted in the meantime")
#: State of the ledger's row of the identity -> how the row is reported; the first that is found counts.
_ENDS = {
    RowState.ACCEPTED: _GRANTED,
    RowState.REVOKED: (RowState.ALREADY_ACCEPTED, "the same badge was accepted, and revoked since"),
    RowState.UNKNOWN: None,
    RowState.INTENT: None,
    RowState.REJECTED: (RowState.REJECTED, "the same badge was rejected in the meantime"),
    RowState.PLANNED: (RowState.NOT_SENT, "the same badge is not granted; the next import of the row sends it"),
}


def settle_dependent_rows(ledger: Ledger, job: Job) -> int:
    """Update the entries of such rows whose end is known now; give how many were changed."""
    settings = ledger.job_settings(job.job_id)
    if settings.get("on_duplicate") == OnDuplicate.ALLOW:
        return 0  # the report does not say which of several equal rows is meant
    once = settings.get("once_per_customer") == "True"
    changed = 0
    for rows in ledger.settlements.dependent_rows(job):
        badges = list(_badges(rows, settings))
        held = ledger.find(job, badges, any_date=once) if badges else {}
        ends = [
            RowEnd(badge.row_number, *end)
            for badge in badges
            if (end := _end(held.get((badge.customer_id, badge.badge_meta_id), ()), None if once else badge.earned_at))
        ]
        changed += ledger.settlements.report_ends(job, ends) if ends else 0
    return changed


def _badges(rows: Sequence[DependentRow], settings: dict[str, str]) -> Iterator[EarnedBadge]:
    """The rows as the import read them, with the settings of the job."""
    try:
        choices = column_choices(dict(msgspec.json.decode(settings.get("field_mapping") or "[]")))
        zone: tzinfo | None = named_zone(settings.get("timezone") or None)
        columns = resolve_columns(choices, list(rows[0].original))
    except CapillaryError as error:
        log.warning("Rows reported as unknown stay so, because the report's columns cannot be read: %s", error)
        return
    reader = RowReader(columns, zone, settings.get("timestamp_unit") or "s")
    names: tuple[str, ...] = msgspec.structs.astuple(columns)
    for row in rows:
        for badge in reader.read(row.row_number, *([row.original.get(name)] for name in names)):
            if isinstance(badge, EarnedBadge):
                yield badge


def _end(held: Sequence[Held], earned_at: int | None) -> tuple[RowState, str] | None:
    states = {one.state for one in held if earned_at in (None, one.earned_at) and not one.is_set_aside}
    return next((end for state, end in _ENDS.items() if state in states), None)
