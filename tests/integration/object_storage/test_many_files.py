"""Folders of many small objects: each is asked for once, many at a time, and never more than memory allows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_capillary.datasets import remote_files, storage
from airflow_provider_capillary.datasets.open_dataset import open_dataset
from airflow_provider_capillary.exceptions import DatasetError, RetryableError

from .conftest import Lake

MANY = 20
HEADER = b"customer_id,note\n"


def fill(lake: Lake, contents: dict[str, bytes]) -> str:
    for name, content in contents.items():
        lake.server.put(lake.bucket, f"in/{name}", content)
    lake.faults.requests.clear()
    return lake.uri("in")


def parts(count: int = MANY) -> dict[str, bytes]:
    return {f"part-{number:05d}.csv": HEADER + b"%d,x\n" % number for number in range(count)}


def customers(uri: Any) -> list[str]:
    dataset = open_dataset(uri)
    try:
        return [value for window in dataset.windows(100) for value in window.column("customer_id")]
    finally:
        dataset.close()


def reads(lake: Lake) -> Counter[str]:
    return Counter(request for request in lake.faults.requests if ".csv" in request)


def test_small_objects_take_one_request_each(lake: Lake) -> None:
    uri = fill(lake, parts())
    assert customers(uri) == [str(number) for number in range(MANY)]
    assert set(reads(lake).values()) == {1}
    assert all(request.startswith("GET ") for request in reads(lake))
    assert len(lake.faults.requests) - MANY < 12  # listings, the folder and those above it


def test_one_listing_finds_the_files_and_their_sizes(lake: Lake) -> None:
    uri = fill(lake, parts())
    lake.faults.queries.clear()
    customers(uri)
    whole = [query for query in lake.faults.queries if "prefix=in/" in unquote(query) and "max-keys=1" not in query]
    assert len(whole) == 1


def test_the_next_objects_are_on_their_way_while_the_first_are_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_MOST_FILES", 5)
    uri = fill(lake, parts())
    files = remote_files.RemoteFiles([f"{uri}/{name}" for name in parts()])
    try:
        files.copy(f"{uri}/part-00000.csv")
        assert files._ahead is not None
        assert len(files._ahead[1].result(timeout=30)) == 5
        assert sorted(reads(lake)) == [f"GET /{lake.bucket}/in/{name}" for name in list(parts())[:10]]
    finally:
        files.close()


def test_small_objects_in_memory_are_bounded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    copy = remote_files.RemoteFiles.copy

    def noted(self: Any, uri: str) -> Any:
        copied = copy(self, uri)
        ahead = {} if self._ahead is None else self._ahead[1].result()
        held.append(sum(map(len, (*self._contents.values(), *ahead.values()))))
        return copied

    monkeypatch.setattr(remote_files.RemoteFiles, "copy", noted)
    monkeypatch.setattr(remote_files, "_MOST_BYTES", 200)
    uri = fill(lake, parts())
    assert customers(uri) == [str(number) for number in range(MANY)]
    assert 200 < max(held) < 400  # those being read, and the next


def test_a_large_object_is_copied_in_pieces(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_SMALL_BYTES", 100)
    alone: list[str] = []
    copy = remote_files.copy_to_local

    def noted(uri: str, target: Path) -> bytes:
        alone.append(uri.rpartition("/")[2])
        return copy(uri, target)

    monkeypatch.setattr(remote_files, "copy_to_local", noted)
    contents = parts(6) | {"part-00003.csv": HEADER + b"3," + b"x" * 200 + b"\n"}
    assert customers(fill(lake, contents)) == [str(number) for number in range(6)]
    assert alone == ["part-00003.csv"]


@pytest.mark.parametrize("cuts", [1, 5])
def test_objects_cut_once_are_read_again(lake: Lake, cuts: int) -> None:
    uri = fill(lake, parts())
    lake.faults.cut_reads = cuts
    assert customers(uri) == [str(number) for number in range(MANY)]


def test_objects_always_cut_allow_a_retry(lake: Lake) -> None:
    uri = fill(lake, parts(3))
    lake.faults.cut_reads = 10_000
    with pytest.raises(RetryableError, match=r"part-00000\.csv: .*connection was lost"):
        customers(uri)


def test_each_broken_one_of_many_is_named(lake: Lake) -> None:
    broken = {"part-00007.csv": HEADER + b"7\n", "part-00013.csv": b"\xff\xfe"}
    with pytest.raises(DatasetError, match=r"(?s)part-00007\.csv.*part-00013\.csv"):
        customers(fill(lake, parts() | broken))


def test_an_object_that_grew_is_read_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = fill(lake, parts(4))
    listed = remote_files.sizes_of

    def overtaken(folder: str) -> Any:
        sizes = listed(folder)
        lake.server.put(lake.bucket, "in/part-00002.csv", HEADER + b"2,x\n99,x\n")
        return sizes

    monkeypatch.setattr(remote_files, "sizes_of", overtaken)
    assert customers(uri) == ["0", "1", "2", "99", "3"]


def test_a_list_of_objects_keeps_its_order(lake: Lake) -> None:
    contents = {f"dt=2025-01-{day:02d}/{name}": content for day in (2, 1) for name, content in parts(3).items()}
    fill(lake, contents)
    uris = [lake.uri(f"in/{name}") for name in contents]
    assert customers(uris) == ["0", "1", "2"] * 2
    assert customers(list(reversed(uris))) == ["2", "1", "0"] * 2


def test_a_large_overwritten_object_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote_files, "_AHEAD_BYTES", 50_000)
    content = HEADER + b"".join(b"%06d,x\n" % number for number in range(50_000))
    lake.server.put(lake.bucket, "busy.csv", content)
    uri = lake.uri("busy.csv")
    with storage.filesystem_at(uri) as (filesystem, _):
        opened = filesystem.open

        def overtaken(*arguments: Any, **named: Any) -> Any:
            file = opened(*arguments, **named)
            assert file.read(1_000)
            file.seek(0)
            lake.server.put(lake.bucket, "busy.csv", content.replace(b"x", b"y"))
            return file

        monkeypatch.setattr(filesystem, "open", overtaken)
        with pytest.raises(DatasetError, match=r"busy\.csv: was overwritten while it was read"):
            remote_files.copy_to_local(uri, tmp_path / "copy")
