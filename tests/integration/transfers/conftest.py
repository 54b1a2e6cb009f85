"""Real databases and storages for the extract operator."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_capillary.datasets.open_dataset import open_dataset
from tests.debian_programs import need

from . import mariadb

Extract = Callable[..., dict[str, Any]]


def values(dataset: Any, name: str) -> list[Any]:
    """A column of a dataset, as it is read."""
    return [value for window in open_dataset(dataset).windows(100) for value in window.column(name)]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """A SQLite file behind the Airflow connection ``warehouse``."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def mariadb_socket() -> Iterator[Path]:
    """The socket of one MariaDB server for all tests of this process."""
    for program, package in mariadb.PROGRAMS.items():
        need(program, package=package)
    with mariadb.mariadb_server() as socket:
        yield socket


@pytest.fixture
def extract() -> Extract:
    """Runs the operator as a worker would, with nothing but a plain context."""
    from airflow_provider_capillary.transfers.sql_to_badge_dataset import SqlToBadgeDatasetOperator

    def run(sql: str, dataset_path: Any, **arguments: Any) -> dict[str, Any]:
        operator = SqlToBadgeDatasetOperator(
            task_id="extract", **{"sql": sql, "dataset_path": str(dataset_path), "conn_id": "warehouse", **arguments}
        )
        return operator.execute({})

    return run


class LakeFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """An object storage in memory; the operation named in ``failing`` breaks when it has been called often enough."""

    protocol = "lake"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    failing: ClassVar[dict[str, int]] = {}

    def _count(self, operation: str) -> None:
        if operation in self.failing:
            self.failing[operation] -= 1
            if self.failing[operation] < 0:
                raise ConnectionResetError(f"lost in {operation}")

    def put_file(self, *arguments: Any, **named: Any) -> Any:
        self._count("put_file")
        return super().put_file(*arguments, **named)

    def pipe_file(self, *arguments: Any, **named: Any) -> Any:
        self._count("pipe_file")
        return super().pipe_file(*arguments, **named)

    def rm_file(self, *arguments: Any, **named: Any) -> Any:
        self._count("rm_file")
        return super().rm_file(*arguments, **named)


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> LakeFileSystem:
    """An object storage that Airflow reaches as ``memory://lake@bucket/...``."""
    from airflow.sdk.io import store

    filesystem = LakeFileSystem()
    monkeypatch.setattr(LakeFileSystem, "store", {})
    monkeypatch.setattr(LakeFileSystem, "pseudo_dirs", [""])
    monkeypatch.setattr(LakeFileSystem, "failing", {})
    monkeypatch.setitem(store._STORE_CACHE, "memory-lake", store.ObjectStore("memory", "lake", filesystem))
    return filesystem
