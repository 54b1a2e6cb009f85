"""Airflow's REST API, as a person's script would use it."""

from __future__ import annotations

from typing import Any

import requests

from .commands import wait_for


class AirflowApi:
    """One login. Errors of HTTP are raised."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        token = self._call("POST", "/auth/token", json={"username": user, "password": password})["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def wait_for_dag(self, dag_id: str) -> None:
        """Until the DAG processor has found it; then it is unpaused."""
        wait_for(f"DAG {dag_id}", 180, lambda: any(dag["dag_id"] == dag_id for dag in self._get("/dags")["dags"]))
        self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def run(self, dag_id: str, conf: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Trigger a run by hand and wait for its end."""
        body = {"logical_date": None, "conf": conf}
        run_id = self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        path = f"/dags/{dag_id}/dagRuns/{run_id}"
        wait_for(f"run {run_id}", seconds, lambda: self._get(path)["state"] in ("success", "failed"))
        ended: dict[str, Any] = self._get(path)
        ended["tasks"] = self._get(f"{path}/taskInstances")["task_instances"]
        return ended

    def returned(self, run: dict[str, Any], task_id: str, map_index: int = -1) -> Any:
        """What a task of the run returned."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._get(f"{path}?map_index={map_index}&deserialize=true")["value"]

    def _get(self, path: str) -> Any:
        return self._call("GET", f"/api/v2{path}")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        reply = self._session.request(method, self._url + path, timeout=60, **arguments)
        if not reply.ok:
            raise requests.HTTPError(f"{method} {path}: {reply.status_code} {reply.text[:500]}", response=reply)
        return reply.json()
