"""Assets: ``capillary://host/badges``, the badges of one cluster's customers, and the events of a task's outlets.

Airflow finds the functions of the asset by the provider's metadata, whenever it meets a URI of the scheme
``capillary``. Events say how an import ended, in counts, for the DAGs that wait for it. The outlets are the user's own
(``outlets=[Asset(...)]``); none is added. An event holds no row and no customer id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.sdk import Asset

from airflow_provider_capillary.core.summary import FINAL_STATES, Summary
from airflow_provider_capillary.hooks.errors import errors_logged
from airflow_provider_capillary.hooks.hook_lineage import asset_uri, few

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Context

    from airflow_provider_capillary.reports.report_facts import ReportFacts

log = logging.getLogger(__name__)

SCHEME = "capillary"
NAME = "badges"
MOST_URIS = 10


def badge_asset_uri(api_url: str) -> str:
    """The asset's URI, by the URL of the API: host and port, without credentials and path."""
    host = urlsplit(api_url).netloc.rpartition("@")[2].lower()
    if not host:
        raise ValueError("the URL names no host")
    return f"{SCHEME}://{host}/{NAME}"


def create_asset(*, host: str, extra: dict[str, Any] | None = None) -> Asset:
    """The asset of a host, as hook-level lineage asks for it."""
    return Asset(uri=f"{SCHEME}://{host}/{NAME}", extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Refuse a URI without a host; nothing else is asked of it, for people name their assets as they like."""
    if not uri.netloc:
        raise ValueError(
            "URI format capillary:// must contain a host, as in capillary://eu.api.capillarytech.com/badges"
        )
    return uri


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The same dataset that the import itself reports."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.strip("/") or NAME)


@errors_logged
def fill_events(context: Context, outlets: Iterable[Any], facts: Mapping[str, Any]) -> None:
    """Put the facts into the event of each asset among the outlets; Airflow emits it if the task succeeds.

    An alias has no event before an asset is added to it, and is left alone.
    """
    from airflow.sdk.definitions.asset import AssetRef

    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, (Asset, AssetRef)):
            events[outlet].extra.update(facts)


def warn_of_many_events(ti: Any, outlets: Iterable[Any]) -> None:
    """Warn where a mapped task has outlets: the DAGs that wait would start after the first part.

    Airflow emits an event for each map index, as each succeeds. Each of them is true, and says which part it is
    about, so the import is not refused; but a DAG that waits for all of it has to wait for the task after it.
    """
    if getattr(ti, "map_index", -1) >= 0 and any(True for _ in outlets):
        log.warning(
            "This task is mapped and has outlets: Airflow emits an event for each of its parts. For one event when "
            "all is done, put the outlets on a task after it, such as the report (BadgeErrorReportOperator)"
        )


def import_facts(summary: Summary, sources: Iterable[str], map_index: int) -> dict[str, Any]:
    """How one import ended."""
    counts = {state.value: getattr(summary, state.value) for state in FINAL_STATES}
    where = {"map_index": map_index} if map_index >= 0 else {}
    return {
        "job_id": summary.job_id,
        "rows_read": summary.rows_read,
        **counts,
        "dry_run": summary.dry_run,
        "dataset": [asset_uri(uri) for uri in few(sources)][:MOST_URIS],
        **where,
    }


def report_facts(facts: ReportFacts, counts: Mapping[str, int], files: Mapping[str, str]) -> dict[str, Any]:
    """How all imports of a report ended together. ``succeeded``: each of them is a success as the ledger stands.

    ``rows_to_look_at``: rows that were not accepted, also of an import that stayed within its budgets.
    """
    return {
        **counts,
        "succeeded": all(job.failure is None for job in facts.jobs),
        "rows_to_look_at": facts.total.problems.rows,
        "dry_run": any(job.dry_run for job in facts.jobs),
        "job_ids": [job.job_id for job in facts.jobs[:MOST_URIS]],
        "dataset": [asset_uri(uri) for uri in few(uri for job in facts.jobs for uri in job.sources)][:MOST_URIS],
        **files,
    }
