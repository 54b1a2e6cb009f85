"""The buttons on a task in Airflow's UI which open the page of its job, or of its run's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

#: The tabs that the page has on a task instance and on a Dag run; ``plugins/badge_imports`` registers them.
TASK_TAB, RUN_TAB = "badge-import", "badge-imports-of-run"


class BadgeImportLink(BaseOperatorLink):
    """The tab with the import's job: counts, reasons, rows, report, and what to do.

    Airflow asks for the link in the worker when the task has ended, in whatever way, and stores the answer. The link
    is relative, because a worker need not know the address of Airflow's UI.
    """

    name = "Badge import"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The tab of the task instance. It is made of the key alone."""
        task = f"{_run(ti_key)}/tasks/{quote(ti_key.task_id, safe='')}"
        mapped = f"/mapped/{ti_key.map_index}" if ti_key.map_index >= 0 else ""
        return f"{task}{mapped}/plugin/{TASK_TAB}"


class BadgeReportLink(BaseOperatorLink):
    """The tab with the imports of the report's run."""

    name = "Badge imports"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The tab of the Dag run. It is made of the key alone."""
        return f"{_run(ti_key)}/plugin/{RUN_TAB}"


def _run(ti_key: Any) -> str:
    return f"dags/{quote(ti_key.dag_id, safe='')}/runs/{quote(ti_key.run_id, safe='')}"
