"""Runs DAGs one after the other as it is asked to: Airflow's start, which takes most of the time, is paid for once.

One JSON object a line comes in, one goes out; logs go to the other stream. What runs is ``dag.test()``, which is what
``airflow dags test`` calls.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any


def main() -> None:
    """Answer until there is nothing more to read."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to both
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def run(dag_file: str, dag_id: str, env: dict[str, str], **arguments: Any) -> dict[str, Any]:
        os.environ.update(env)
        bag = DagBag(dag_file)
        if bag.import_errors:
            return {"import_errors": bag.import_errors}
        for name in ("logical_date", "run_after"):
            if arguments.get(name):
                arguments[name] = datetime.fromisoformat(arguments[name])
        ended = bag.dags[dag_id].test(**arguments)
        with create_session() as session:
            query = select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == ended.run_id)
            tasks = [
                {"task": ti.task_id, "map_index": ti.map_index, "state": ti.state, "tries": ti.try_number}
                for ti in session.scalars(query)
            ]
        date = ended.logical_date
        return {"run_id": ended.run_id, "state": ended.state, "tasks": tasks, "logical_date": date and date.isoformat()}

    for line in sys.stdin:
        replies.write(json.dumps(run(**json.loads(line))) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
