"""Our DAGs get through Airflow's DAG processor: parsed, serialised and packed for the process that stores them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted([*(HERE.parents[1] / "dags").glob("*.py"), *(HERE / "dags").glob("*.py")])


@pytest.mark.timeout(300)
def test_every_dag_file_gets_through_the_dag_processor(tmp_path: Path) -> None:
    env = os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, str(HERE / "parse_as_dag_processor.py"), *map(str, FILES)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: facts["errors"] for name, facts in found.items()} == {str(file): {} for file in FILES}
    assert all(facts["dags"] for facts in found.values()), found
