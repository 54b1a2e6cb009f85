"""Registers the page "Badge imports" with Airflow.

Workers and the DAG processor import this file too, so it loads nothing else. Only the API server loads FastAPI,
templates and ledger, with the first request for the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

URL_PREFIX = "/badge-imports"
NAME = "Badge imports"

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class PageApp:
    """An ASGI application that loads the page with the first request.

    Airflow mounts it in its own application, which it passes on to the page: actions call Airflow's API there.
    """

    _app: Any = None

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one request."""
        if self._app is None:
            from airflow_provider_capillary.plugins.badge_imports.app import build_app

            PageApp._app = build_app()
        await self._app({**scope, "airflow_app": scope.get("app")}, receive, send)


FASTAPI_APPS: list[Any] = [{"app": PageApp(), "url_prefix": URL_PREFIX, "name": NAME}]
# Without a leading slash the addresses are relative to Airflow's own, which may have a path.
VIEWS: list[Any] = [
    {
        "name": NAME,
        "href": f"{URL_PREFIX[1:]}/",
        "destination": "nav",
        "category": "browse",
        "url_route": "badge-imports",
    },
    {
        "name": NAME,
        "href": f"{URL_PREFIX[1:]}/dags/{{DAG_ID}}/tab?run_id={{RUN_ID}}",
        "destination": "dag_run",
        "url_route": "badge-imports-of-run",  # operators/report_link.py leads here
    },
    {
        "name": "Badge import",
        "href": f"{URL_PREFIX[1:]}/dags/{{DAG_ID}}/tab?run_id={{RUN_ID}}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}",
        "destination": "task_instance",
        "url_route": "badge-import",
    },
]


class BadgeImportsPlugin(AirflowPlugin):
    """The page in the navigation, and a tab on Dag runs and task instances."""

    name = "capillary_badge_imports"
    fastapi_apps = FASTAPI_APPS
    external_views = VIEWS
