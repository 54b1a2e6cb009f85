"""A local stack has an Airflow of its own, and all of it is on loopback."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from dev.stack.stack_settings import LOOPBACK, environment, free_port, taken_port


def env_of(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, [tmp_path / "a", tmp_path / "b"], "postgresql://", 8123, tmp_path / "reports")


def test_another_airflow_has_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "of production")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "of production")
    monkeypatch.setenv("AIRFLOW_HOME", "/of/production")
    env = env_of(tmp_path)
    assert not [name for name, value in env.items() if "production" in value]
    assert env["AIRFLOW_HOME"] == str(tmp_path)


def test_everything_is_on_loopback(tmp_path: Path) -> None:
    env = env_of(tmp_path)
    assert env["AIRFLOW__API__HOST"] == LOOPBACK == "127.0.0.1"
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"


def test_no_proxy_comes_before_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "intra.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    env = env_of(tmp_path)
    assert env["no_proxy"] == "intra.example,127.0.0.1,localhost"
    assert env["NO_PROXY"] == "127.0.0.1,localhost"


def test_dag_folders_are_bundles_of_different_names(tmp_path: Path) -> None:
    bundles = json.loads(env_of(tmp_path)["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert len({bundle["name"] for bundle in bundles}) == 2
    assert [bundle["kwargs"]["path"] for bundle in bundles] == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_the_first_free_port_is_taken() -> None:
    with socket.socket() as busy, socket.socket() as other:
        for taken in (busy, other):
            taken.bind((LOOPBACK, 0))
            taken.listen()
        first, second = busy.getsockname()[1], other.getsockname()[1]
        other.close()
        assert free_port(first, second) == second
        assert free_port(first) not in (0, first)


@pytest.mark.parametrize(
    ("port", "wanted", "taken"),
    [(8080, [8080], None), (8081, [8080], 8080), (4711, [0], None), (4711, [], None), (8080, [9000, 8080], 9000)],
    ids=str,
)
def test_a_port_that_another_program_has_is_named(port: int, wanted: list[int], taken: int | None) -> None:
    assert taken_port(port, wanted) == taken
