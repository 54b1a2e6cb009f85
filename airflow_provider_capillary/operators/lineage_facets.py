"""Lineage in the words of OpenLineage. To be imported only where its provider may be missing."""

from __future__ import annotations

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
from airflow_provider_capillary.hooks.lineage import dataset_name, few
from airflow_provider_capillary.operators.lineage import WorkDone

# camelCase and no underscore in front, as everywhere in OpenLineage


@attrs.define
class ReasonFacet:
    """Why rows were not accepted, without their values."""

    stage: str
    code: int | None
    message: str
    rows: int


@attrs.define
class BadgeImportRunFacet(RunFacet):
    """What became of the rows of an import. ``rowsRead`` is the sum of the six states after it."""

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
    """What a report tells of all its imports."""

    jobs: int
    rowsReported: int
    mayBeGrantedTwice: int


def as_operator_lineage(work: WorkDone) -> OperatorLineage[Dataset, RunFacet]:
    """Datasets read and written, row count of what was written, and the counts as a facet of the run."""
    outputs: list[Dataset] = [OutputDataset(*dataset_name(uri)) for uri in few(work.outputs)]
    if outputs and work.rows_written is not None:
        statistics = OutputStatisticsOutputDatasetFacet(rowCount=work.rows_written)
        outputs[0] = OutputDataset(outputs[0].namespace, outputs[0].name, outputFacets={"outputStatistics": statistics})
    facets: dict[str, RunFacet] = {}
    if work.summary is not None:
        facets["capillary_badgeImport"] = _import_facet(work.summary)
    if work.report is not None:
        facets["capillary_badgeReport"] = BadgeReportRunFacet(
            jobs=work.report["jobs"],
            rowsReported=work.report["rows_reported"],
            mayBeGrantedTwice=work.report["may_be_granted_twice"],
        )
    inputs: list[Dataset] = [InputDataset(*dataset_name(uri)) for uri in few(work.inputs)]
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets=facets)


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
