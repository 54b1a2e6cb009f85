"""Calls Airflow's own public API with the user's login, within the process. The page changes things in no other way.

So Airflow checks the user's rights once more, validates the call, and writes who did it into its audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from anyio import from_thread
from fastapi import HTTPException, Request

SECONDS_TO_ANSWER = 60.0
_LOGIN = ("authorization", "cookie")


class AirflowApi:
    """The API for the user of one request. Use it in a plain route, not in a coroutine: it waits for the event loop."""

    def __init__(self, request: Request) -> None:
        self._app = request.scope["airflow_app"]
        self._headers = {name: value for name in _LOGIN if (value := request.headers.get(name))}

    def find(self, path: str, **query: Any) -> Any:
        """Read something; ``None`` if it does not exist, or the user may not read it."""
        reply = self._call("GET", path, params=query)
        return reply.json() if reply.is_success else None

    def do(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Change something.

        :raises HTTPException: Airflow did not do it; with its status and text.
        """
        reply = self._call(method, path, json=dict(body))
        if not reply.is_success:
            raise HTTPException(reply.status_code, f"Airflow answered: {_detail(reply)}")
        return reply.json() if reply.content else None

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://airflow", headers=self._headers, timeout=SECONDS_TO_ANSWER
            ) as client:
                return await client.request(method, f"/api/v2/{path}", **arguments)

        return from_thread.run(call)


def path_of(*parts: str) -> str:
    """A path of the API, each part escaped."""
    return "/".join(quote(part, safe="") for part in parts)


def _detail(reply: httpx.Response) -> str:
    try:
        detail = reply.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"{reply.status_code} {reply.text[:200]}"
    return detail if isinstance(detail, str) else f"{reply.status_code} {detail}"[:400]
