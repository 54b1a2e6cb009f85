"""A DAG file is parsed every half minute: naming operators there loads nothing that only a running task needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPERATORS = """
from airflow.sdk import DAG
from airflow_provider_capillary.decorators.badge_import import badge_import_task
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.badge_reconcile import BadgeReconcileOperator
from airflow_provider_capillary.operators.badge_revoke import BadgeRevokeOperator
from airflow_provider_capillary.operators.badge_seed import BadgeSeedOperator
from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

with DAG("night", schedule=None):
    extract = SqlToBadgeDatasetOperator(task_id="extract", sql="SELECT 1", conn_id="a", dataset_path="/b", partitions=4)
    imported = BadgeImportOperator.partial(
        task_id="import", timezone="Europe/Berlin", field_mapping={"customerId": "id"}, max_rejected="1%"
    ).expand(dataset=extract.output["parts"])
    BadgeErrorReportOperator(task_id="report", job=imported.output)
    BadgeReconcileOperator(task_id="reconcile", job=imported.output)
    BadgeRevokeOperator(task_id="revoke", job="0123")
    BadgeSeedOperator(task_id="seed", dataset="file:///a.csv")
    badge_import_task(task_id="decorated", batch_size=100)(lambda: [])()
"""
#: What a running task needs. Of the package: all that sends, keeps or reads rows.
NOT_FOR_A_DAG_FILE = (
    "pyarrow",
    "numpy",
    "requests",
    "alembic",
    "airflow.providers.common.sql.hooks",
    "airflow_provider_capillary.client",
    "airflow_provider_capillary.ledger",
    "airflow_provider_capillary.reports",
    "airflow_provider_capillary.datasets.open_dataset",
    "airflow_provider_capillary.hooks.capillary",
    "airflow_provider_capillary.jobs.import_job",
    "airflow_provider_capillary.jobs.pacing",
)
CODE = """
import sys
import airflow.sdk
before = set(sys.modules)
exec(sys.argv[1])
print(*sorted(set(sys.modules) - before), sep="\\n")
"""


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    done = subprocess.run([sys.executable, "-c", CODE, OPERATORS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("module", NOT_FOR_A_DAG_FILE)
def test_a_dag_file_does_not_load(loaded: list[str], module: str) -> None:
    assert [name for name in loaded if name == module or name.startswith(f"{module}.")] == []


def test_a_dag_files_fault_is_found_there(loaded: list[str]) -> None:
    """The checks of arguments are what may be loaded."""
    assert {"airflow_provider_capillary.jobs.settings", "airflow_provider_capillary.datasets.formats"} <= set(loaded)
