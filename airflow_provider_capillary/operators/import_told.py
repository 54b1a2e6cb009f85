"""Tells of an import to whoever watches: lineage, metrics, and the events of the task's outlets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.hooks.lineage import collect_lineage, uris_of
from airflow_provider_capillary.hooks.outside import only_telling
from airflow_provider_capillary.jobs.import_job import ImportResult
from airflow_provider_capillary.operators.asset_event import import_facts, tell_outlets
from airflow_provider_capillary.operators.badge_asset import badge_asset_uri
from airflow_provider_capillary.operators.lineage import WorkDone
from airflow_provider_capillary.operators.metrics import count_import

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, Context


@only_telling
def remember_begin(dataset: Any, api_url: str, *, dry_run: bool) -> WorkDone:
    """What there is to tell should the import break off: where it reads, and where it may have written."""
    return WorkDone(inputs=uris_of(dataset), outputs=() if dry_run else (badge_asset_uri(api_url),))


@only_telling
def tell_end(
    context: Context,
    hook: BaseHook,
    outlets: Iterable[Any],
    result: ImportResult,
    begun: WorkDone | None,
    sources: Iterable[str],
) -> WorkDone:
    """Tell how the import ended, and give what is to be remembered for OpenLineage.

    :param begun: what was remembered when it began.
    :param sources: the files that were read.
    """
    summary, ti = result.summary, context["ti"]
    outputs = begun.outputs if begun else ()
    done = WorkDone(tuple(sources), outputs, summary.accepted if outputs else None, summary)
    count_import(ti, summary, result.error, result.seconds)
    collect_lineage(hook, inputs=done.inputs, outputs=done.outputs)
    tell_outlets(context, outlets, import_facts(summary, done.inputs, getattr(ti, "map_index", -1)))
    return done
