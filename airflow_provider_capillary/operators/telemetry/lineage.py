"""Gives OpenLineage the files that an operator has read, and what it has written.

Airflow asks for it in listeners, before and after ``execute``, in the worker. The answer was kept while the operator
worked, so it needs no network, no ledger and no connection, and it raises nothing. Without the OpenLineage provider
Airflow does not ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_capillary.core.summary import Summary
from airflow_provider_capillary.hooks.errors import errors_logged
from airflow_provider_capillary.hooks.hook_lineage import uris_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset, RunFacet
    from airflow.providers.openlineage.extractors import OperatorLineage


class WorkDone(msgspec.Struct, frozen=True):
    """What an operator keeps of its work for lineage."""

    inputs: tuple[str, ...] = ()  #: URIs
    outputs: tuple[str, ...] = ()  #: URIs
    rows_written: int | None = None  #: to the first output
    summary: Summary | None = None  #: of an import
    report: Mapping[str, int] | None = None  #: the counts of a report


class ReportsLineage:
    """Base of operators that report lineage: what they kept in ``work_done``, else what their arguments say."""

    work_done: WorkDone | None = None

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Dataset, RunFacet] | None:
        """Before the work: the files that the rendered arguments name."""
        return operator_lineage(WorkDone(inputs=uris_of(getattr(self, "dataset", None))))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Dataset, RunFacet] | None:
        """After the work: what was read and written, and the counts."""
        return operator_lineage(self.work_done) if self.work_done else self.get_openlineage_facets_on_start()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Dataset, RunFacet] | None:
        """After a failure: the same, for the part that was done. (Airflow reports the error itself.)"""
        return self.get_openlineage_facets_on_complete(task_instance)


@errors_logged
def operator_lineage(work: WorkDone) -> OperatorLineage[Dataset, RunFacet] | None:
    """What OpenLineage is given; ``None`` if its provider is not installed."""
    try:
        from airflow_provider_capillary.operators.telemetry.openlineage import as_operator_lineage
    except ImportError:
        return None
    return as_operator_lineage(**msgspec.structs.asdict(work))
