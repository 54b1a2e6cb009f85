"""Airflow's public REST API, as far as a local stack and its tests need it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import requests

SECONDS_TO_ANSWER = 60.0


class AirflowApiError(RuntimeError):
    """Airflow refused a call."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AirflowApi:
    """The API at ``url``, for one user; logs in with the first call that needs it."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._credentials = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy must not come between us and loopback

    def get(self, path: str, **query: Any) -> Any:
        """Read ``/api/v2/<path>``."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make something."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change something."""
        return self._call("PATCH", path, json=body)

    def put(self, path: str) -> Any:
        """Do something that needs no more words."""
        return self._call("PUT", path)

    def healthy(self, components: tuple[str, ...], since: datetime) -> bool:
        """Whether the API answers and the components have given a sign of life since then."""
        try:
            reply = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=SECONDS_TO_ANSWER)
            found = reply.json() if reply.ok else {}
        except requests.RequestException:
            return False
        beats = [found.get(component, {}).get(f"latest_{component}_heartbeat") for component in components]
        return bool(found) and all(beat and datetime.fromisoformat(beat) > since for beat in beats)

    def close(self) -> None:
        """Close connections."""
        self._session.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        if "Authorization" not in self._session.headers:
            self._session.headers["Authorization"] = f"Bearer {self._token()}"
        reply = self._session.request(method, f"{self.url}/api/v2/{path}", timeout=SECONDS_TO_ANSWER, **arguments)
        return _content(reply)

    def _token(self) -> str:
        reply = self._session.post(f"{self.url}/auth/token", json=self._credentials, timeout=SECONDS_TO_ANSWER)
        return str(_content(reply)["access_token"])


def _content(reply: requests.Response) -> Any:
    if not reply.ok:
        call = f"{reply.request.method} {reply.request.url}"
        raise AirflowApiError(f"{call}: {reply.status_code} {reply.text[:2_000]}", reply.status_code)
    return reply.json() if reply.content else None
