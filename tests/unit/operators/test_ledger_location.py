from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection
from sqlalchemy.engine import make_url

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.operators.ledger_location import ledger_url, open_ledger, remote_executor, url_of

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def connection(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


@pytest.mark.parametrize(
    ("executors", "elsewhere"),
    [
        ("LocalExecutor", None),
        ("SequentialExecutor", None),
        ("DebugExecutor", None),
        (" LocalExecutor , DebugExecutor ", None),
        ("airflow.executors.local_executor.LocalExecutor", None),
        ("quick:airflow.executors.local_executor.LocalExecutor", None),
        ("quick:LocalExecutor", None),
        ("LocalExecutor;team_a=LocalExecutor", None),
        ("=LocalExecutor", None),
        ("CeleryExecutor", "CeleryExecutor"),
        ("KubernetesExecutor", "KubernetesExecutor"),
        ("CeleryKubernetesExecutor", "CeleryKubernetesExecutor"),
        ("LocalKubernetesExecutor", "LocalKubernetesExecutor"),
        ("LocalExecutor,CeleryExecutor", "CeleryExecutor"),
        ("LocalExecutor, KubernetesExecutor", "KubernetesExecutor"),
        (f"LocalExecutor,big:{CELERY}", CELERY),
        (f"LocalExecutor:{CELERY}", CELERY),
        ("LocalExecutor;team_a=CeleryExecutor", "CeleryExecutor"),
        ("LocalExecutor;team_a=LocalExecutor,far:KubernetesExecutor", "KubernetesExecutor"),
        (
            "airflow.providers.edge3.executors.edge_executor.EdgeExecutor",
            "airflow.providers.edge3.executors.edge_executor.EdgeExecutor",
        ),
        (
            "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor",
            "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor",
        ),
        (
            "airflow.providers.amazon.aws.executors.batch.batch_executor.AwsBatchExecutor",
            "airflow.providers.amazon.aws.executors.batch.batch_executor.AwsBatchExecutor",
        ),
        ("my_company.executors.LocalExecutor", "my_company.executors.LocalExecutor"),
        ("localexecutor", "localexecutor"),
    ],
)
def test_only_local_executors_are_trusted(executors: str, elsewhere: str | None) -> None:
    assert remote_executor(executors, {}) == elsewhere


def test_a_kubernetes_pod_is_recognised() -> None:
    assert remote_executor("LocalExecutor", {"AIRFLOW_IS_K8S_EXECUTOR_POD": "True"}) == "KubernetesExecutor"


def test_the_default_ledger_is_a_file(home: Path) -> None:
    ledger = open_ledger(None)
    ledger.close()
    assert (home / "capillary_ledger.db").is_file()
    assert str(home / "capillary_ledger.db") in ledger.description


def test_the_argument_overrides_the_ledger_option(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, "of_option", conn_type="sqlite", host=str(tmp_path / "option.db"))
    connection(monkeypatch, "of_argument", conn_type="sqlite", host=str(tmp_path / "argument.db"))
    monkeypatch.setenv("AIRFLOW__CAPILLARY__LEDGER_CONN_ID", "of_option")
    open_ledger(None).close()
    open_ledger("of_argument").close()
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["argument.db", "option.db"]
    assert not home.exists()


@pytest.mark.parametrize("ledger_conn_id", [None, "a_file"])
def test_a_file_for_remote_tasks_is_refused_unmade(
    home: Path, monkeypatch: pytest.MonkeyPatch, ledger_conn_id: str | None
) -> None:
    connection(monkeypatch, "a_file", conn_type="sqlite", host=str(home / "ledger.db"))
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", f"LocalExecutor,big:{CELERY}")
    with pytest.raises(ConfigurationError) as refused:
        open_ledger(ledger_conn_id)
    for needed in (
        CELERY,
        "Nothing was sent",
        "ledger_conn_id=",
        "AIRFLOW__CAPILLARY__LEDGER_CONN_ID",
        "postgresql://",
    ):
        assert needed in str(refused.value)
    assert not home.exists()


def test_a_database_server_serves_any_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgresql://user@127.0.0.1:1/ledger?connect_timeout=1")
    with pytest.raises(Exception, match="cannot be used") as unreachable:
        open_ledger("pg")
    assert type(unreachable.value).__name__ == "LedgerUnavailableError"  # it was tried, so it was not refused


def test_any_password_reaches_only_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    password = "p@ss/w:rd%40?#[]é "
    connection(
        monkeypatch, "pg", conn_type="postgres", host="db", login="a@b", password=password, port=5433, schema="x"
    )
    url = ledger_url("pg")
    assert (url.drivername, url.username, url.host, url.port, url.database) == (
        "postgresql+psycopg",
        "a@b",
        "db",
        5433,
        "x",
    )
    assert url.password == password == make_url(url.render_as_string(hide_password=False)).password
    assert url.render_as_string(hide_password=True) == "postgresql+psycopg://a%40b:***@db:5433/x"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_spelling_of_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", f"{scheme}://user:p%40ss@db:5433/ledger?sslmode=verify-full")
    expected = "postgresql+psycopg://user:p%40ss@db:5433/ledger?sslmode=verify-full"
    assert ledger_url("pg").render_as_string(hide_password=False) == expected


def test_only_driver_extras_are_kept() -> None:
    extra = {"sslmode": "require", "connect_timeout": 5, "cursor": "dictcursor", "iam": False, "sslrootcert": ""}
    url = url_of(Connection(conn_id="pg", conn_type="postgres", host="db", extra=json.dumps(extra)))
    assert dict(url.query) == {"sslmode": "require", "connect_timeout": "5"}


def test_a_unix_socket_may_stand_in_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", "postgresql://postgres@/ledger?host=/tmp/pg data")
    url = ledger_url("pg")
    assert (url.host, dict(url.query)) == (None, {"host": "/tmp/pg data"})


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ("sqlite://%2Fvar%2Flib%2Fx%20y.db", "/var/lib/x y.db"),
        ("sqlite://data/x.db", "{home}/data/x.db"),
        ('{"conn_type": "sqlite", "host": "/var/lib/x.db", "extra": {"mode": "ro"}}', "/var/lib/x.db"),
        ('{"conn_type": "sqlite", "host": "x.db"}', "{home}/x.db"),
    ],
)
def test_a_file_is_the_same_from_every_folder(home: Path, monkeypatch: pytest.MonkeyPatch, uri: str, path: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A_FILE", uri)
    url = ledger_url("a_file")
    assert (url.drivername, url.database, dict(url.query)) == ("sqlite", path.format(home=home), {})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"conn_type": "mysql", "host": "db"}, "'mysql'"),
        ({"conn_type": "sqlite"}, "names no file"),
        ({"conn_type": "sqlite", "host": ":memory:"}, "names no file"),
    ],
)
def test_an_unsuitable_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], words: str
) -> None:
    connection(monkeypatch, "unfit", **fields)
    with pytest.raises(ConfigurationError, match=words):
        open_ledger("unfit")


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no connection 'nowhere' for the ledger"):
        open_ledger("nowhere")


def test_an_impossible_folder_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file")
    connection(monkeypatch, "a_file", conn_type="sqlite", host=str(tmp_path / "taken" / "ledger.db"))
    with pytest.raises(ConfigurationError, match="cannot be made"):
        open_ledger("a_file")


@pytest.mark.parametrize("nothing", ["", " ", "None"])
def test_an_empty_template_never_chooses_another_ledger(home: Path, nothing: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ledger_conn_id is .*template without a value.*connection"):
        open_ledger(nothing)
    assert not home.exists()


@pytest.mark.parametrize("extra", ['{"iam": true}', '{"iam": "True"}'])
def test_cloud_tokens_for_a_ledger_are_refused(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    connection(monkeypatch, "tokens", conn_type="postgres", host="db", login="u", extra=extra)
    with pytest.raises(ConfigurationError, match=r"connection 'tokens' has the extra 'iam'.*password"):
        open_ledger("tokens")
