"""Makes assets ``capillary://host/badges``, the badges of one cluster's customers, and the events of a task's outlets.

Airflow calls the functions of the asset, named in the provider's metadata, for every URI of the scheme ``capillary``.
An event says how an import ended, in counts, for the DAGs that wait for it. Only outlets that the user gives
(``outlets=[Asset(...)]``) have events. An event holds no row and no customer id.
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
    """The URI of the asset of an API's URL: its host and port, without credentials and path."""
    host = urlsplit(api_url).netloc.rpartition("@")[2].lower()
    if not host:
        raise ValueError("the URL names no host")
    return f"{SCHEME}://{host}/{NAME}"


def create_asset(*, host: str, extra: dict[str, Any] | None = None) -> Asset:
    """The asset of a host. Hook-level lineage of Airflow calls this."""
    return Asset(uri=f"{SCHEME}://{host}/{NAME}", extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Refuse a URI without a host. Nothing else is checked, because people may name their assets as they like."""
    if not uri.netloc:
        raise ValueError(
            "URI format capillary:// must contain a host, as in capillary://eu.api.capillarytech.com/badges"
        )
    return uri


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The dataset of OpenLineage for the asset: the same that the import reports."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.strip("/") or NAME)


@errors_logged
def fill_events(context: Context, outlets: Iterable[Any], facts: Mapping[str, Any]) -> None:
    """Put the facts into the event of each asset among the outlets; Airflow emits it if the task succeeds.

    An alias has no event before an asset is added to it, so it is skipped.
    """
    from airflow.sdk.definitions.asset import AssetRef

    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        if isinstance(outlet, (Asset, AssetRef)):
            events[outlet].extra.update(facts)


def warn_of_many_events(ti: Any, outlets: Iterable[Any]) -> None:
    """Warn if a mapped task has outlets: the DAGs that wait would start after the first part.

    Airflow emits an event for each map index when it succeeds. Each event is true, and says which part it describes,
    so the import is not refused. But a DAG that waits for the whole import has to wait for a task after it.
    """
    if getattr(ti, "map_index", -1) >= 0 and any(True for _ in outlets):
        log.warning(
            "This task is mapped and has outlets: Airflow emits an event for each of its parts. For one event when "
            "all is done, put the outlets on a task after it, such as the report (BadgeErrorReportOperator)"
        )


def import_facts(summary: Summary, sources: Iterable[str], map_index: int) -> dict[str, Any]:
    """How one import ended, for the event of an outlet."""
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
    """How all imports of a report ended together, for the event of an outlet.

    ``succeeded`` says whether each of them is a success by what the ledger holds now. ``rows_to_look_at`` counts rows
    that were not accepted, also of imports that stayed within their budgets.
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
