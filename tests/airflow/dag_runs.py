"""Runs DAGs one after the other as it is asked to: Airflow's start, which takes most of the time, is paid for once.

One JSON object a line comes in, one goes out; logs go to the other stream. What runs is ``dag.test()``, which is what
``airflow dags test`` calls. Two things that it leaves to others are done here as those would: by the scheduler, which
makes a run of queued asset events, and by the person who answers a question.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch


@contextmanager
def begun_by_events(dag_id: str) -> Iterator[None]:
    """Let ``dag.test()`` run what the scheduler makes of the asset events that are queued for the DAG."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    def made_by_the_scheduler(*, dag: Any, session: Any, **_: Any) -> Any:
        before = set(session.scalars(select(DagRun.id).where(DagRun.dag_id == dag_id)))
        models = session.scalars(select(DagModel).where(DagModel.dag_id == dag_id)).all()
        job: Any = Job  # its constructor has no types
        SchedulerJobRunner(job())._create_dag_runs_asset_triggered(dag_models=models, session=session)
        session.commit()
        made = [run for run in session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)) if run.id not in before]
        assert len(made) == 1, f"no events are queued for {dag_id}"
        made[0].state = DagRunState.RUNNING
        session.commit()
        made[0].dag = dag
        return made[0]

    with patch("airflow.models.dagrun.get_or_create_dagrun", made_by_the_scheduler):
        yield


@contextmanager
def answering(answers: Mapping[str, str]) -> Iterator[None]:
    """Answer what a task asks, through what the API's route calls, from the first moment at which that is taken.

    An answer that comes earlier, while the task's process still ends, is lost: ``dag.test()`` writes the task's state
    once more after that, as Airflow 3.3's scheduler may too, and then waits for ever.
    """
    from airflow.sdk.definitions.dag import _run_task

    def run_and_answer(*, ti: Any, **arguments: Any) -> Any:
        result = _run_task(ti=ti, **arguments)
        if ti.state == "awaiting_input" and ti.task_id in answers:
            _answer(ti, answers[ti.task_id])
        return result

    with patch("airflow.sdk.definitions.dag._run_task", run_and_answer):
        yield


def _answer(ti: Any, answer: str) -> None:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.utils.session import create_session

    user: Any = SimpleAuthManagerUser(username="ada", role="admin")
    payload = UpdateHITLDetailPayload(chosen_options=[answer])
    with create_session() as session:
        update_hitl_detail(ti.dag_id, ti.run_id, ti.task_id, payload, user, session)


def main() -> None:
    """Answer until there is nothing more to read."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to both
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # Set last, so that it stands before all others: what Airflow will drop, neither our code nor a DAG may use.
    warnings.filterwarnings("error", module="airflow_provider_capillary|unusual_prefix_")

    def run(
        dag_file: str,
        dag_id: str,
        by_events: bool = False,
        answers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        bag = DagBag(dag_file)
        if bag.import_errors:
            return {"error": bag.import_errors}
        for name in ("logical_date", "run_after"):
            if arguments.get(name):
                arguments[name] = datetime.fromisoformat(arguments[name])
        with ExitStack() as others:
            if by_events:
                others.enter_context(begun_by_events(dag_id))
            others.enter_context(answering(answers or {}))
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
        try:
            asked = json.loads(line)
            with patch.dict(os.environ, asked.pop("env")):
                reported = run(**asked)
        except Exception:  # noqa: BLE001 - one test fails, and the others go on
            reported = {"error": traceback.format_exc()}
        replies.write(json.dumps(reported) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
