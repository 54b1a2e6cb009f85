from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator
from airflow_provider_capillary.operators.report_link import BadgeImportLink, BadgeReportLink
from airflow_provider_capillary.plugins.badge_imports.plugin import VIEWS


class Key(NamedTuple):
    dag_id: str
    run_id: str
    task_id: str
    map_index: int


OF_TASK = Key("nightly", "manual__2026-11-28T02:00:00+00:00", "group.import", -1)


def test_an_import_leads_to_its_own_tab() -> None:
    operator = BadgeImportOperator(task_id="import", dataset=[])
    (link,) = operator.operator_extra_links

    assert isinstance(link, BadgeImportLink)
    assert link.get_link(operator, ti_key=OF_TASK) == (
        "dags/nightly/runs/manual__2026-11-28T02%3A00%3A00%2B00%3A00/tasks/group.import/plugin/badge-import"
    )


def test_each_mapped_import_has_its_tab() -> None:
    operator = BadgeImportOperator(task_id="import", dataset=[])

    address = BadgeImportLink().get_link(operator, ti_key=OF_TASK._replace(map_index=12))

    assert address.endswith("/tasks/group.import/mapped/12/plugin/badge-import")


def test_a_report_links_to_its_runs_imports() -> None:
    operator = BadgeErrorReportOperator(task_id="report", job="4f")
    (link,) = operator.operator_extra_links

    assert isinstance(link, BadgeReportLink)
    assert link.get_link(operator, ti_key=OF_TASK) == (
        "dags/nightly/runs/manual__2026-11-28T02%3A00%3A00%2B00%3A00/plugin/badge-imports-of-run"
    )


@pytest.mark.parametrize("link", [BadgeImportLink(), BadgeReportLink()])
def test_a_hostile_id_stays_one_path_part(link: Any) -> None:
    address = link.get_link(None, ti_key=Key('a/../"x', "r?y#z", "t/u", 0))

    assert address.startswith("dags/a%2F..%2F%22x/runs/r%3Fy%23z/")


def test_the_tabs_are_those_that_the_page_registers() -> None:
    routes = {view["url_route"] for view in VIEWS}

    assert {"badge-import", "badge-imports-of-run"} <= routes


def test_the_provider_names_both_links() -> None:
    assert get_provider_info()["extra-links"] == [
        f"{kind.__module__}.{kind.__qualname__}" for kind in (BadgeImportLink, BadgeReportLink)
    ]
