"""Which databases a ledger may stand in is decided before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger.database import shown
from airflow_provider_capillary.ledger.engine import make_engine


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "mssql+pyodbc://h/d", "oracle://h/d", "snowflake://h/d", "duckdb:///file", "mariadb://h/d"]
)
def test_an_unsupported_database_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"ledger on {url.partition(':')[0].partition('+')[0]} is not supp"):
        make_engine(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:ledger?mode=memory&uri=true",
    ],
)
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="in memory would be forgotten"):
        make_engine(url)


@pytest.mark.parametrize("url", ["", "ledger.db", "/var/lib/ledger.db", "postgresql://host:port/database"])
def test_a_wrong_url_gets_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:////path/ledger\.db"):
        make_engine(url)


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_has_one_driver(driver: str) -> None:
    engine = make_engine(f"{driver}://user:secret@host:5433/database")
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")
    assert shown(engine.url) == "postgresql+psycopg://user:***@host:5433/database"


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true", "sqlite+aiosqlite:///{}"])
def test_only_a_files_own_folder_is_made(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = make_engine(form.format(tmp_path / "new" / "deep" / "ledger.db"))
    assert (engine.dialect.name, engine.dialect.driver) == ("sqlite", "pysqlite")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["new", "new/deep"]
