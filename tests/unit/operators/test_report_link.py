from __future__ import annotations

import json
import os
from typing import Any, cast

import pytest

from airflow_provider_capillary.operators.badge_error_report import BadgeErrorReportOperator
from airflow_provider_capillary.operators.report_link import BadgeReportLink, address_of

NO_KEY = cast(Any, None)


@pytest.fixture(autouse=True)
def _only_these_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    login = {"conn_type": "aws", "login": "key", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON", json.dumps(login))
    own = login | {"extra": {"endpoint_url": "http://127.0.0.1:9000"}}
    monkeypatch.setenv("AIRFLOW_CONN_OWN_STORE", json.dumps(own))


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        (
            "s3://amazon@reports/nightly/run 1/report.html",
            "https://s3.console.aws.amazon.com/s3/object/reports?prefix=nightly/run%201/report.html",
        ),
        ("gs://google@reports/a/report.html", "https://storage.cloud.google.com/reports/a/report.html"),
        ("gs://reports/a?b#c/report.html", "https://storage.cloud.google.com/reports/a%3Fb%23c/report.html"),
        ("s3://own_store@reports/report.html", None),
        ("s3://no_such_connection@reports/report.html", None),
        ("file:///home/airflow/report.html", None),
        ("abfs://azure@reports/report.html", None),
        ("memory://reports/report.html", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_report_has_an_address_only_where_a_browser_gets_at_it(uri: str, address: str | None) -> None:
    assert address_of(uri) == address


def test_an_s3_of_one_s_own_that_the_environment_names_is_not_taken_for_amazon_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert address_of("s3://amazon@reports/report.html") is None


def test_the_button_opens_the_address_and_there_is_none_without_one() -> None:
    operator = BadgeErrorReportOperator(task_id="report", job="{{ job }}")
    [link] = operator.operator_extra_links
    assert isinstance(link, BadgeReportLink)
    assert link.name == "Badge report"
    assert link.get_link(operator, ti_key=NO_KEY) == ""
    operator.report_address = "https://storage.cloud.google.com/reports/report.html"
    assert link.get_link(operator, ti_key=NO_KEY) == "https://storage.cloud.google.com/reports/report.html"
    assert link.get_link(cast(Any, object()), ti_key=NO_KEY) == ""
