"""A dataset on S3, where nothing can be renamed: there as a whole or not at all, whatever is refused or cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.datasets.dataset_files import FileFinder
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, BadgeTaskInterrupted
from airflow_provider_capillary.transfers.publish import publish

from .conftest import Lake

Extract = Callable[..., dict[str, Any]]
PATH = "badges/manual__2025-03-01T14:00:00+00:00"


def customers(dataset: Any) -> list[int]:
    opened = open_dataset(dataset)
    try:
        return [value for window in opened.windows(500) for value in window.column("customer_id")]
    finally:
        opened.close()


def contents(lake: Lake) -> list[bytes]:
    keys = [uri.split(f"{lake.bucket}/")[1] for uri in FileFinder().files_at(lake.uri(PATH)).uris]
    return [lake.server.get(lake.bucket, key) for key in keys]


def test_a_dataset_on_s3_is_read_in_every_form(extract: Extract, lake: Lake) -> None:
    result = extract(lake.uri(PATH), partitions=3)
    for form in (result, result["uri"], f"{result['uri']}/", result["parts"]):
        assert sorted(customers(form)) == list(range(1, 2_001))
    assert extract(lake.uri(PATH), partitions=3) == result
    result = extract(lake.uri(PATH), customers=7)
    assert customers(lake.uri(PATH)) == list(range(1, 8))
    part = result["parts"][0].rsplit("/", 1)[-1]
    assert lake.keys() == {f"{PATH}/_manifest.json", f"{PATH}/{part}"}


def test_a_death_at_any_request_never_mixes_datasets(tmp_path: Path, lake: Lake) -> None:
    def parts(content: str) -> list[Path]:
        (tmp_path / content).mkdir(exist_ok=True)
        paths = [tmp_path / content / f"part-0000{number}-of-00003.parquet" for number in range(3)]
        for number, path in enumerate(paths):
            path.write_text(f"{content} {number}")
        return paths

    def read() -> list[str]:
        return [content.decode() for content in contents(lake)]

    ends: list[list[str]] = []
    failed = True
    while failed:
        publish(parts("old"), lake.uri(PATH), 3)
        lake.faults.heal()
        lake.faults.refused_from = len(ends) + 1  # no request after this one, either: as if the process were dead
        try:
            publish(parts("new"), lake.uri(PATH), 3)
        except DatasetError:
            pass
        finally:
            failed = len(lake.faults.requests) >= lake.faults.refused_from
            lake.faults.heal()
        ends.append(read())
    old, new = [[f"{content} {number}" for number in range(3)] for content in ("old", "new")]
    turn = ends.index(new)
    assert ends == [old] * turn + [new] * (len(ends) - turn)
    assert 4 < turn < len(ends) - 3
    assert len(lake.keys()) == 4


def test_a_first_try_dying_leaves_no_dataset(extract: Extract, lake: Lake) -> None:
    reasons = set()
    for request in range(1, 12):
        path = f"badges/{request}"
        lake.faults.heal()
        lake.faults.refused_from = request
        with pytest.raises(BadgeTaskFailed, match=r"no permission|may not see it"):
            extract(lake.uri(path), partitions=5)
        lake.faults.heal()
        with pytest.raises(DatasetError) as refused:
            open_dataset(lake.uri(path))
        reasons.add(str(refused.value).split(": ", 1)[1].split(".", 1)[0].split(" (")[0])
    assert reasons == {"no such file", "the folder is only partly written"}


def test_one_of_two_tries_is_left_whole(tmp_path: Path, lake: Lake) -> None:
    def publishing(content: str, failures: list[Exception]) -> None:
        try:
            for number in range(4):
                source = tmp_path / f"{content}{number}"
                source.mkdir()
                parts = [source / f"part-0000{part}-of-00003.parquet" for part in range(3)]
                for place, part in enumerate(parts):
                    part.write_text(f"{content} {number} {place}")
                publish(parts, lake.uri(PATH), 3)
        except Exception as error:
            failures.append(error)
            raise

    failures: list[Exception] = []
    threads = [threading.Thread(target=publishing, args=(content, failures)) for content in ("ours", "theirs")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = contents(lake)
    assert len(found) == 3
    assert len({content.rsplit(b" ", 1)[0] for content in found}) == 1


def test_a_wrong_bucket_is_named_and_not_made(extract: Extract, lake: Lake) -> None:
    before = lake.server.buckets()
    wrong = lake.uri(PATH, bucket="no-such-bucket")
    with pytest.raises(BadgeTaskFailed, match="there is no bucket 'no-such-bucket'"):
        extract(wrong)
    for uri in (wrong, f"{wrong}/a.parquet"):
        with pytest.raises(ConfigurationError, match="there is no bucket 'no-such-bucket'"):
            open_dataset(uri).inspect()
    assert lake.server.buckets() == before


def test_without_credentials_what_to_give_is_said(extract: Extract, lake: Lake) -> None:
    nobody = lake.connect(login=None, password=None)
    with pytest.raises(BadgeTaskFailed, match=r"no permission .* no credentials\. Give the connection a login"):
        extract(lake.uri(PATH, conn_id=nobody))
    with pytest.raises(DatasetError, match=r"no permission .* no credentials\. Give the connection a login"):
        open_dataset(lake.uri(PATH, conn_id=nobody))


def test_wrong_credentials_are_named_by_their_connection(extract: Extract, lake: Lake) -> None:
    extract(lake.uri(PATH))
    stranger = lake.connect(login="AKIAIOSFODNN7EXAMPLE", password="not-the-secret")
    lake.server.check_credentials(True)
    try:
        with pytest.raises(BadgeTaskFailed, match=f"no permission .*connection '{stranger}'.*correct its credentials"):
            extract(lake.uri(PATH, conn_id=stranger))
        with pytest.raises(DatasetError, match=f"no permission .*connection '{stranger}'.*correct its credentials"):
            open_dataset(lake.uri(PATH, conn_id=stranger))
    finally:
        lake.server.check_credentials(False)
    assert len(customers(lake.uri(PATH))) == 2_000


def test_a_missing_endpoint_can_be_retried(extract: Extract, lake: Lake) -> None:
    extra = {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 0}}}
    nowhere = lake.connect(extra=extra)
    with pytest.raises(BadgeTaskInterrupted, match=f"cannot be reached.*endpoint of connection '{nowhere}'"):
        extract(lake.uri(PATH, conn_id=nowhere))
