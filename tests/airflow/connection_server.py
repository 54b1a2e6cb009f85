"""An API server of Airflow, and a worker that runs the connection tests it is asked for; both in this process.

The first line written is JSON: the server's URL, a bearer token, and whether this Airflow tests connections on
workers. Each line read is JSON of one such test, ``{"id": ..., "connection_id": ...}``, as a scheduler would give it
to an executor; ``{}`` is answered when the worker is through with it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
import threading
import uuid
from typing import Any, TextIO


def main() -> None:
    """Serve until there is nothing more to read."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to both
    url = _serve()
    on_workers = importlib.util.find_spec("airflow.sdk.execution_time.connection_test_supervisor") is not None
    _answer(replies, {"url": url, "on_workers": on_workers})
    for line in sys.stdin:
        _work(url, **json.loads(line))
        _answer(replies, {})
    os._exit(0)  # the server has nothing to save, and takes seconds to stop


def _answer(replies: TextIO, reported: dict[str, Any]) -> None:
    replies.write(json.dumps(reported) + "\n")
    replies.flush()


def _serve() -> str:
    import requests
    import uvicorn
    from airflow.api_fastapi.app import create_app
    from airflow.utils.db import initdb

    initdb()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(), log_config=None))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    # The first request makes all versions of this API; a worker would lose patience and ask again.
    requests.get(f"{url}/execution/health", timeout=120).raise_for_status()
    return url


def _work(url: str, id: str, connection_id: str) -> None:
    from airflow.executors.base_executor import BaseExecutor
    from airflow.executors.workloads.connection_test import TestConnection

    generator = BaseExecutor().jwt_generator
    workload = TestConnection.make(
        connection_test_id=uuid.UUID(id), connection_id=connection_id, timeout=60, generator=generator
    )
    BaseExecutor.run_workload(workload, server=f"{url}/execution/", proctitle="tests")


if __name__ == "__main__":
    main()
