"""An Airflow of the demo's own: its home, its settings, its connections, and what is read back from its database."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: The organisation's name in the ledger. The simulator's port differs from run to run; this must not.
ORGANISATION = "sample shop"
LOGIN, PASSWORD = "sample.till", "sample-password"


def dags_folder() -> Path:
    """Where the sample DAGs lie in this checkout."""
    return Path(__file__).parents[1] / "dags"


def environment(home: Path, warehouse: Path, api_url: str, reports: Path) -> dict[str, str]:
    """The environment of the demo's Airflow. Settings of another Airflow on this machine do not reach it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return own | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CAPILLARY__REPORT_PATH": f"file://{reports}",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
        "AIRFLOW_CONN_CAPILLARY_DEFAULT": json.dumps(capillary_connection(api_url)),
    }


def capillary_connection(api_url: str) -> dict[str, Any]:
    """The fields of the connection to the simulator at ``api_url``.

    With the port in a field of its own: Airflow's *Test* button refuses a stored connection without one. With extras
    that may be empty: the form shows no others once a connection is stored. Without those that are words: Airflow takes
    every text of the extra for a secret, and would mask them in all logs.
    """
    url = urlsplit(api_url)
    return {
        "conn_type": "capillary",
        "host": url.hostname,
        "schema": url.scheme,
        "port": url.port,
        "login": LOGIN,
        "password": PASSWORD,
        "extra": {
            "organisation": ORGANISATION,
            "timeout": 60,
            "requests_per_minute": None,
        },
    }


def returned_values(home: Path, dag_id: str) -> dict[str, Any]:
    """What each task of the DAG's latest run returned (XCom), by task id; ``{}`` before the first run.

    Read from the metadata database itself: `airflow` has no command for it.
    """
    query = (
        "SELECT task_id, value FROM xcom WHERE dag_id = ? AND key = 'return_value'"
        " AND run_id = (SELECT run_id FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1)"
    )
    with closing(sqlite3.connect(home / "airflow.db")) as connection:
        return {task: _decoded(value) for task, value in connection.execute(query, (dag_id, dag_id))}


def _decoded(value: Any) -> Any:
    """SQLite keeps XCom's JSON column as text, and XCom's own serialiser may have made it JSON within JSON."""
    decoded = json.loads(value) if isinstance(value, str | bytes) else value
    return json.loads(decoded) if isinstance(decoded, str) and decoded[:1] in "[{" else decoded


def summary_of(returned: Mapping[str, Any]) -> dict[str, Any]:
    """The import's summary, or ``{}`` where the import did not come that far."""
    summary = returned.get("import_badges")
    return dict(summary) if isinstance(summary, Mapping) else {}
