from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.sdk import Asset, BaseHook
from openlineage.client.serde import Serde

from airflow_provider_capillary.core.summary import Reason, Summary
from airflow_provider_capillary.hooks.hook_lineage import (
    MOST_FILES,
    asset_uri,
    dataset_name,
    few,
    uris_of,
)
from airflow_provider_capillary.operators.telemetry.assets import (
    badge_asset_uri,
    convert_asset_to_openlineage,
    create_asset,
    sanitize_uri,
)
from airflow_provider_capillary.operators.telemetry.lineage import ReportsLineage, WorkDone, operator_lineage

SUMMARY = Summary(
    job_id="job-1",
    rows_read=10,
    accepted=4,
    already_accepted=3,
    rejected=1,
    invalid=1,
    unknown=1,
    not_sent=0,
    requests=2,
    batches=2,
    started_at="2025-01-15T12:00:00+00:00",
    finished_at="2025-01-15T12:00:01+00:00",
    reasons=(Reason("send", 1054, "no badge …", 1),),
    ledger="ledger.db",
)


class Task(ReportsLineage):
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset


class LazyXComs(Sequence[Any]):
    """As Airflow hands over what a mapped task returned; each look at it asks the supervisor."""

    def __len__(self) -> int:
        raise AssertionError("asked")

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("asked")

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("asked")


def names(datasets: Sequence[Any]) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


@pytest.mark.parametrize(
    ("dataset", "uris"),
    [
        ("s3://lake@bucket/rows.csv", ("s3://lake@bucket/rows.csv",)),
        (["/data/a.csv", "file:///data/b.csv"], ("/data/a.csv", "file:///data/b.csv")),
        (
            {"uri": "file:///set", "parts": ["file:///set/0", "file:///set/1"], "rows": 2},
            ("file:///set/0", "file:///set/1"),
        ),
        ([{"uri": "file:///set", "parts": ["file:///set/0"]}], ("file:///set/0",)),
        ({"uri": "file:///set", "parts": LazyXComs()}, ("file:///set",)),
        ([{"customerId": 7, "badgeMetaId": "x"}], ()),
        (LazyXComs(), ()),
        ("", ()),
        ("None", ()),
        (None, ()),
        (7, ()),
    ],
)
def test_named_files_are_reported_without_fetching(dataset: Any, uris: Any) -> None:
    assert uris_of(dataset) == uris


@pytest.mark.parametrize(
    ("uri", "named", "as_asset"),
    [
        ("/data/rows.csv", ("file", "/data/rows.csv"), "file:///data/rows.csv"),
        ("file:///data/with blank.csv", ("file", "/data/with blank.csv"), "file:///data/with blank.csv"),
        ("s3://bucket/a/rows.csv", ("s3://bucket", "a/rows.csv"), "s3://bucket/a/rows.csv"),
        ("s3://aws_default@bucket/a/", ("s3://bucket", "a"), "s3://bucket/a"),
        ("s3://key:secret@bucket/a", ("s3://bucket", "a"), "s3://bucket/a"),
        ("s3a://bucket/a", ("s3://bucket", "a"), "s3://bucket/a"),
        ("gcs://bucket/a", ("gs://bucket", "a"), "gs://bucket/a"),
        ("abfs://azure@container/a", ("abfs://container", "a"), "abfs://container/a"),
        ("s3://bucket", ("s3://bucket", "/"), "s3://bucket/"),
        ("capillary://host:8080/badges", ("capillary://host:8080", "badges"), "capillary://host:8080/badges"),
    ],
)
def test_datasets_have_the_names_of_openlineage(uri: str, named: tuple[str, str], as_asset: str) -> None:
    assert dataset_name(uri) == named
    assert asset_uri(uri) == as_asset


@pytest.mark.parametrize("uri", ["file:///data/rows.csv", "s3://aws@bucket/a/rows.csv"])
def test_assets_are_named_as_by_airflows_providers(uri: str) -> None:
    from airflow.providers.amazon.aws.assets import s3
    from airflow.providers.common.io.assets import file

    converter = s3 if uri.startswith("s3") else file
    theirs = converter.convert_asset_to_openlineage(Asset(uri=asset_uri(uri)), None)
    assert (theirs.namespace, theirs.name) == dataset_name(uri)


def test_of_many_files_folders_are_named() -> None:
    uris = [f"s3://bucket/{number % 3}/{number}.parquet" for number in range(MOST_FILES + 1)]
    assert few(uris) == ["s3://bucket/0", "s3://bucket/1", "s3://bucket/2"]
    assert few(uris[:MOST_FILES]) == uris[:MOST_FILES]
    assert len(few(f"s3://bucket/{number}/x.csv" for number in range(1_000))) == MOST_FILES
    assert few(["rows", "file:///a", "file:///a"]) == ["file:///a"]


def test_the_badges_asset_has_no_credentials() -> None:
    assert badge_asset_uri("https://EU.api.capillarytech.com") == "capillary://eu.api.capillarytech.com/badges"
    assert badge_asset_uri("http://till:secret@127.0.0.1:8080/prefix") == "capillary://127.0.0.1:8080/badges"
    assert create_asset(host="h").uri == "capillary://h/badges"
    with pytest.raises(ValueError, match="no host"):
        badge_asset_uri("nonsense")


def test_a_persons_own_asset_is_kept() -> None:
    assert sanitize_uri(urlsplit("capillary://badges")).geturl() == "capillary://badges"
    with pytest.raises(ValueError, match="must contain a host"):
        sanitize_uri(urlsplit("capillary:///badges"))
    ours = convert_asset_to_openlineage(Asset(uri="capillary://h:1/badges"), None)
    assert (ours.namespace, ours.name) == ("capillary://h:1", "badges")
    assert convert_asset_to_openlineage(Asset(uri="capillary://shop"), None).name == "badges"


def test_lineage_has_files_before_and_counts_after() -> None:
    task = Task(["s3://lake@bucket/rows.csv"])
    for before in (task.get_openlineage_facets_on_start(), task.get_openlineage_facets_on_failure(None)):
        assert before is not None
        assert (names(before.inputs), before.outputs, before.run_facets) == ([("s3://bucket", "rows.csv")], [], {})

    task.work_done = WorkDone(("s3://lake@bucket/rows.csv",), ("capillary://h/badges",), 4, SUMMARY)
    for reported in (task.get_openlineage_facets_on_complete(None), task.get_openlineage_facets_on_failure(None)):
        assert reported is not None
        assert names(reported.inputs) == [("s3://bucket", "rows.csv")]
        [output] = reported.outputs
        assert (output.namespace, output.name) == ("capillary://h", "badges")
        assert Serde.to_dict(output)["outputFacets"]["outputStatistics"]["rowCount"] == 4
        facet = Serde.to_dict(reported.run_facets["capillary_badgeImport"])
        facet = {name: value for name, value in facet.items() if not name.startswith("_")}
        assert facet == {
            "jobId": "job-1",
            **{"rowsRead": 10, "accepted": 4, "alreadyAccepted": 3, "rejected": 1, "invalid": 1, "unknown": 1},
            **{"notSent": 0, "requests": 2, "dryRun": False},
            "reasons": [{"stage": "send", "code": 1054, "message": "no badge …", "rows": 1}],
        }


def test_a_reports_lineage_has_files_and_counts() -> None:
    counts = {"jobs": 3, "rows_reported": 5, "may_be_granted_twice": 2, "accepted": 9}
    reported = operator_lineage(
        WorkDone(("/data/rows.csv",), ("file:///r/errors.csv", "file:///r/report.html"), report=counts)
    )
    assert reported is not None
    assert names(reported.outputs) == [("file", "/r/errors.csv"), ("file", "/r/report.html")]
    facet = Serde.to_dict(reported.run_facets["capillary_badgeReport"])
    assert (facet["jobs"], facet["rowsReported"], facet["mayBeGrantedTwice"]) == (3, 5, 2)


def test_nothing_is_looked_up_for_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("looked up")

    task = Task("s3://lake@bucket/rows.csv")
    task.work_done = WorkDone(("s3://lake@bucket/rows.csv",), ("capillary://h/badges",), 4, SUMMARY)
    monkeypatch.setattr(BaseHook, "get_connection", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    assert task.get_openlineage_facets_on_start() is not None
    assert task.get_openlineage_facets_on_complete(None) is not None


def test_without_openlineage_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "airflow_provider_capillary.operators.telemetry.openlineage", raising=False)
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    assert Task("/data/rows.csv").get_openlineage_facets_on_start() is None


@pytest.mark.parametrize("dataset", ["file://elsewhere/rows.csv", "\x00://", "://", "s3://"])
def test_whatever_stands_in_a_dataset_nothing_is_raised(dataset: str) -> None:
    task = Task(dataset)
    task.get_openlineage_facets_on_start()
    task.get_openlineage_facets_on_failure(None)
