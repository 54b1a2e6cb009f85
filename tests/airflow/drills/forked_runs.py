"""Runs DAGs and commands of Airflow, each in a forked process of its own: one start for all, and each may be killed.

One JSON object a line comes in, one goes out. ``begin``: what to run; the answer is the number of its process.
``wait``: that number; the answer comes when the process has ended, with its return code as of ``subprocess``. What a
process says goes to ``log``, what comes of it to ``result``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import uuid
from pathlib import Path
from typing import Any

from dev.stack.prepare_metadata import prepare


def dag_run(dag_file: str, dag_id: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Run a DAG as ``airflow dags test`` does; give the states of its tasks."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    bag = DagBag(dag_file)
    assert not bag.import_errors, bag.import_errors
    ended = bag.dags[dag_id].test(run_conf=conf)
    with create_session() as session:
        query = select(TaskInstance).where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == ended.run_id)
        tasks = {ti.task_id: [ti.state, ti.try_number] for ti in session.scalars(query)}
    return {"run_id": ended.run_id, "tasks": tasks}


def command(parser: Any, words: list[str]) -> dict[str, Any]:
    """Run a command of Airflow's command line."""
    try:
        args = parser.parse_args(words)
        args.func(args)
    except SystemExit as end:
        return {"code": end.code}
    return {"code": 0}


def in_child(parser: Any, asked: dict[str, Any]) -> None:
    with Path(asked["log"]).open("wb") as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(asked["env"])
    ended = command(parser, asked["words"]) if "words" in asked else dag_run(**asked["dag"])
    sys.stdout.flush()
    Path(asked["result"]).write_text(json.dumps(ended), "utf-8")


def load() -> None:
    """Load what each of them would load anew: Airflow's own API, which tasks ask, is most of a run's time."""
    import asyncio

    import httpx
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    import airflow_provider_capillary.jobs.seed
    import airflow_provider_capillary.operators.badge_import  # noqa: F401

    async def first_request() -> None:
        transport = httpx.ASGITransport(app=in_process_api_server().app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
            await client.patch(f"/task-instances/{uuid.UUID(int=0)}/run", json={})

    asyncio.run(first_request())  # no thread may be left: it would not be there in a forked process


def main() -> None:
    """Answer until there is nothing more to read."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to both
    prepare({})
    from airflow.cli.cli_parser import get_parser

    load()
    parser = get_parser()
    replies.write(json.dumps({"ready": True}) + "\n")
    replies.flush()
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            outcome = {"code": os.waitstatus_to_exitcode(status)}
        elif pid := os.fork():
            outcome = {"pid": pid}
        else:
            try:
                in_child(parser, asked["begin"])
            except BaseException:  # noqa: BLE001 - whatever it is, this copy of the loop must not go on
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        replies.write(json.dumps(outcome) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
