"""Makes the objects of OpenLineage. Only this module needs its provider; ``lineage.py`` imports it if it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
from airflow.providers.common.compat.openlineage.facet import (
    Dataset,
    InputDataset,
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.openlineage.extractors import OperatorLineage

from airflow_provider_capillary.core.summary import Summary
from airflow_provider_capillary.hooks.hook_lineage import dataset_name, few

# The names are in camelCase, as everywhere in OpenLineage.


@attrs.define
class ReasonFacet:
    """Why rows were not accepted, without their values."""

    stage: str
    code: int | None
    message: str
    rows: int


@attrs.define
class BadgeImportRunFacet(RunFacet):
    """How the rows of an import ended. ``rowsRead`` is the sum of the six states after it."""

    jobId: str
    rowsRead: int
    accepted: int
    alreadyAccepted: int
    rejected: int
    invalid: int
    unknown: int
    notSent: int
    requests: int
    dryRun: bool
    reasons: list[ReasonFacet]


@attrs.define
class BadgeReportRunFacet(RunFacet):
    """The counts of a report over all its imports."""

    jobs: int
    rowsReported: int
    mayBeGrantedTwice: int


def as_operator_lineage(
    *,
    inputs: Iterable[str],
    outputs: Iterable[str],
    rows_written: int | None,
    summary: Summary | None,
    report: Mapping[str, int] | None,
) -> OperatorLineage[Dataset, RunFacet]:
    """The datasets that were read and written, the number of rows written, and the counts as a facet of the run.

    ``lineage.WorkDone`` explains the parameters.
    """
    written: list[Dataset] = [OutputDataset(*dataset_name(uri)) for uri in few(outputs)]
    if written and rows_written is not None:
        statistics = OutputStatisticsOutputDatasetFacet(rowCount=rows_written)
        written[0] = OutputDataset(written[0].namespace, written[0].name, outputFacets={"outputStatistics": statistics})
    facets: dict[str, RunFacet] = {}
    if summary is not None:
        facets["capillary_badgeImport"] = _import_facet(summary)
    if report is not None:
        facets["capillary_badgeReport"] = BadgeReportRunFacet(
            jobs=report["jobs"],
            rowsReported=report["rows_reported"],
            mayBeGrantedTwice=report["may_be_granted_twice"],
        )
    read: list[Dataset] = [InputDataset(*dataset_name(uri)) for uri in few(inputs)]
    return OperatorLineage(inputs=read, outputs=written, run_facets=facets)


def _import_facet(summary: Summary) -> BadgeImportRunFacet:
    return BadgeImportRunFacet(
        jobId=summary.job_id,
        rowsRead=summary.rows_read,
        accepted=summary.accepted,
        alreadyAccepted=summary.already_accepted,
        rejected=summary.rejected,
        invalid=summary.invalid,
        unknown=summary.unknown,
        notSent=summary.not_sent,
        requests=summary.requests,
        dryRun=summary.dry_run,
        reasons=[ReasonFacet(one.stage, one.code, one.message, one.rows) for one in summary.reasons],
    )
