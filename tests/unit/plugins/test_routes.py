from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from airflow_provider_capillary.plugins.badge_imports import rights
from airflow_provider_capillary.plugins.badge_imports.app import build_app
from airflow_provider_capillary.plugins.badge_imports.rendering import style

#: What a route that changes something needs at least.
_CHANGING = {rights.needs_change, rights.needs_undo}
_READING = {"GET", "HEAD"}


def dependencies(dependant: Any) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from dependencies(one)


def all_routes(routes: Any) -> Iterator[APIRoute]:
    """Every route, also those of routers that were included."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        if inner:
            yield from all_routes(inner)


ROUTES = list(all_routes(build_app().routes))


def test_the_application_has_its_pages_and_three_actions() -> None:
    found = {(method, route.path) for route in ROUTES for method in route.methods}

    assert {path for method, path in found if method not in _READING} == {
        f"/dags/{{dag_id}}/jobs/{{job_id}}/{action}" for action in ("settle", "again", "undo")
    }
    assert len(found) == 14


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{sorted(route.methods)[0]} {route.path}")
def test_every_route_names_one_right(route: APIRoute) -> None:
    named = [call for call in dependencies(route.dependant) if call in rights.RIGHTS]

    assert len(set(named)) == 1, route.path
    if "{dag_id}" in route.path:
        assert named[0] is not rights.needs_login, route.path
    if not route.methods <= _READING:
        assert named[0] in _CHANGING, route.path


def test_workers_and_the_dag_processor_load_no_page() -> None:
    script = (
        "import sys; import airflow.sdk.plugins_manager;"
        "import airflow_provider_capillary.get_provider_info; before = set(sys.modules);"
        "import airflow_provider_capillary.plugins.badge_imports.plugin;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}));"
        "print(*sorted(name for name in sys.modules if name.startswith('airflow_provider_capillary.')))"
    )
    # Airflow prints to its own log before
    lines = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    packages, ours = lines.splitlines()[-2:]

    assert set(packages.split()) <= {"airflow", "airflow_provider_capillary"}
    assert ours.split() == [
        "airflow_provider_capillary.get_provider_info",  # Airflow's own look for providers
        "airflow_provider_capillary.plugins",
        "airflow_provider_capillary.plugins.badge_imports",
        "airflow_provider_capillary.plugins.badge_imports.plugin",
    ]


def test_the_page_has_the_palettes_of_the_report() -> None:
    css = style()

    for theme, ink in (("light", "#1b2130"), ("dark", "#e8ebf2")):
        (rules,) = [part for part in css.split("}") if f'[data-theme="{theme}"]' in part]
        assert f"--ink: {ink}" in rules
        assert f"color-scheme: {theme}" in rules
