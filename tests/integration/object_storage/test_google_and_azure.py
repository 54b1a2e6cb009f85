"""What is promised of object storages holds on Google's and Azure's, spoken to by their own filesystems."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_capillary.datasets import remote_files
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError, RetryableError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed

from .buckets import BUCKET, SERVERS

Extract = Callable[..., dict[str, Any]]
HEADER = b"customer_id,note\n"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    running = SERVERS[request.param]()
    yield running
    running.stop()


class Lake:
    """A folder of the server's bucket, and its URIs."""

    def __init__(self, server: Any) -> None:
        self.server, self.filesystem = server, server.filesystem
        self.folder = uuid4().hex
        self.conn_id = f"lake{self.folder}"

    def uri(self, path: str, bucket: str = BUCKET) -> str:
        return f"{self.server.scheme}://{self.conn_id}@{bucket}/{self.folder}/{path}"

    def put(self, path: str, content: bytes) -> None:
        self.filesystem.pipe_file(f"{BUCKET}/{self.folder}/{path}", content)

    def names(self, path: str) -> set[str]:
        self.filesystem.invalidate_cache()
        return {name.rpartition("/")[2] for name in self.filesystem.find(f"{BUCKET}/{self.folder}/{path}")}


@pytest.fixture
def lake(server: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """As Airflow attaches it, but for the connection, which would need the whole provider of Google or Microsoft."""
    from airflow.sdk.io import store

    server.proxy.cuts = 0
    made = Lake(server)
    attached = store.ObjectStore(server.scheme, made.conn_id, server.filesystem)
    monkeypatch.setitem(store._STORE_CACHE, f"{server.scheme}-{made.conn_id}", attached)
    return made


def customers(dataset: Any) -> list[str]:
    opened = open_dataset(dataset)
    try:
        return [str(value) for window in opened.windows(1_000) for value in window.column("customer_id")]
    finally:
        opened.close()


def test_a_published_dataset_is_read_and_replaced_whole(extract: Extract, lake: Lake) -> None:
    expected = sorted(map(str, range(1, 2_001)))
    result = extract(lake.uri("badges"), partitions=3)
    for form in (result, lake.uri("badges"), result["parts"], lake.uri("badges/*.parquet"), lake.uri("**/*.parquet")):
        assert sorted(customers(form)) == expected
    assert lake.names("badges") == {"_manifest.json", *(part.rpartition("/")[2] for part in result["parts"])}
    again = extract(lake.uri("badges"), customers=10)
    assert sorted(map(int, customers(lake.uri("badges")))) == list(range(1, 11))
    assert lake.names("badges") == {"_manifest.json", *(part.rpartition("/")[2] for part in again["parts"])}


def test_many_small_objects_are_read_in_order(lake: Lake) -> None:
    for number in range(12):
        lake.put(f"in/dt=2025-01-{number // 6 + 1:02d}/part-{number:02d}.csv", HEADER + b"%d,x\n" % number)
    assert customers(lake.uri("in")) == [str(number) for number in range(12)]


# Both filesystems give aiohttp a piece of megabytes as it is, and aiohttp warns of that.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_large_objects_survive_a_cut_reply(lake: Lake) -> None:
    lake.put("large.csv", HEADER + b"".join(b"%d,%s\n" % (number, b"x" * 1_000) for number in range(10_000)))
    lake.server.proxy.cuts = 1
    try:
        assert customers(lake.uri("large.csv")) == [str(number) for number in range(10_000)]
    except RetryableError:
        assert len(customers(lake.uri("large.csv"))) == 10_000  # the task's next try
    assert lake.server.proxy.cuts == 0


def test_an_encoded_object_is_refused(lake: Lake) -> None:
    place = f"{BUCKET}/{lake.folder}/in"
    lake.put("in/a.csv", HEADER + b"1,x\n")
    lake.server.put_encoded(f"{place}/b.csv", gzip.compress(HEADER + b"2,x\n"))
    lake.put("in/c.csv", HEADER + b"3,x\n")
    for uri in (lake.uri("in/b.csv"), lake.uri("in")):
        with pytest.raises(DatasetError, match=r"b\.csv: is stored with Content-Encoding gzip"):
            customers(uri)


def test_an_object_overwritten_while_read_is_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote_files, "_AHEAD_BYTES", 100_000)
    content = HEADER + b"".join(b"%06d,x\n" % number for number in range(100_000))
    lake.put("busy.csv", content)
    opened = lake.filesystem.open

    def overtaken(*arguments: Any, **named: Any) -> Any:
        file = opened(*arguments, **named)
        assert file.read(1_000)
        file.seek(0)
        lake.put("busy.csv", content.replace(b"x", b"y"))
        return file

    monkeypatch.setattr(lake.filesystem, "open", overtaken)
    with pytest.raises((DatasetError, RetryableError), match=r"busy\.csv"):
        remote_files.copy_to_local(lake.uri("busy.csv"), tmp_path / "copy")


def test_a_wrong_bucket_is_named_and_not_made(extract: Extract, lake: Lake) -> None:
    with pytest.raises((ConfigurationError, DatasetError), match="there-is-none"):
        customers(lake.uri("in", bucket="there-is-none"))
    with pytest.raises(BadgeTaskFailed, match="there-is-none"):
        extract(lake.uri("badges", bucket="there-is-none"))
    lake.filesystem.invalidate_cache()
    assert not lake.filesystem.exists("there-is-none")


def test_a_missing_object_is_named(lake: Lake) -> None:
    with pytest.raises(DatasetError, match=r"none\.csv: no such file"):
        customers(lake.uri("none.csv"))
