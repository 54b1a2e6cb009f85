"""``python parse_as_dag_processor.py FILE ...``: do with DAG files what Airflow's DAG processor does, print JSON.

``airflow dags test`` skips the last step, in which what was serialised is packed for another process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import structlog
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
from airflow.sdk.execution_time.comms import _RequestFrame


def parsed(file: Path) -> dict[str, Any]:
    request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="tested")
    result = _parse_file(request, structlog.get_logger())
    assert result is not None
    frame = bytes(_RequestFrame(id=0, body=result.model_dump()).as_bytes())
    return {"dags": [dag.dag_id for dag in result.serialized_dags], "errors": result.import_errors, "bytes": len(frame)}


if __name__ == "__main__":
    print(json.dumps({name: parsed(Path(name)) for name in sys.argv[1:]}))  # noqa: T201
