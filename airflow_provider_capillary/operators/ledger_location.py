"""Finds and opens the ledger of a task. A ledger that could be lost, or be one of two, is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from airflow_provider_capillary.core.given_values import is_nothing
from airflow_provider_capillary.exceptions import ConfigurationError, WrongLedgerError
from airflow_provider_capillary.operators.airflow_installation import airflow_home, configured_executors, option

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_capillary.ledger.ledger import Ledger

DEFAULT_FILE = "capillary_ledger.db"
#: Executors whose tasks all run on the scheduler's machine. A class that is not listed may run them anywhere.
_ONE_MACHINE = frozenset(
    {
        "LocalExecutor",
        "SequentialExecutor",
        "DebugExecutor",
        "airflow.executors.local_executor.LocalExecutor",
        "airflow.executors.sequential_executor.SequentialExecutor",
        "airflow.executors.debug_executor.DebugExecutor",
    }
)
# Set in pods of KubernetesExecutor. Inside them [core] executor is commonly LocalExecutor, from the pod template.
_POD_MARK = "AIRFLOW_IS_K8S_EXECUTOR_POD"
#: Extras of a PostgreSQL connection that are given to the driver. Others are for Airflow, or for another driver.
_POSTGRES_EXTRAS = (
    "application_name",
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "host",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "options",
    "passfile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
)


def open_ledger(
    ledger_conn_id: str | None, *, only_reading: bool = False, make: bool = True, without_wal: bool = False
) -> Ledger:
    """Open the ledger; close it when done. Nothing may be sent before this has returned.

    :param ledger_conn_id: an Airflow connection to PostgreSQL or to an SQLite file; ``None`` for the option
        ``ledger_conn_id`` of ``[capillary]``, and without that a file in ``AIRFLOW_HOME``.
    :param make: whether a ledger is made if there is none.
    :param only_reading: make no ledger, and open one that is sealed, too.
    :param without_wal: open an SQLite file whose ``-wal`` file is gone, because a person said that nothing is missing.
    :raises WrongLedgerError: it is sealed, or it is at a place where a ledger cannot be kept.
    :raises ConfigurationError: there is no such connection, or its type is no database for a ledger, or it is an SQLite
        file although tasks may run on several machines: each would have a file, and badges would be granted twice.
    :raises LedgerUnavailableError: the database cannot be reached or written.
    """
    if ledger_conn_id is not None and is_nothing(ledger_conn_id):
        raise ConfigurationError(
            f"ledger_conn_id is {ledger_conn_id!r}, perhaps of a template without a value. The ledger decides what was "
            "granted already, so no other is taken instead: give the id of a connection, or leave ledger_conn_id out"
        )
    ledger = ledger_at(
        ledger_url(ledger_conn_id or option("ledger_conn_id")),
        must_exist=only_reading or not make,
        without_wal=without_wal,
    )
    if only_reading or (place := ledger.sealed_for) is None:
        return ledger
    ledger.close()
    raise WrongLedgerError(
        f"the ledger {ledger.description} is sealed: it was copied to {place}. Nothing was sent. Set ledger_conn_id to "
        "a connection to that place"
    )


def ledger_at(url: URL, *, must_exist: bool = False, without_wal: bool = False) -> Ledger:
    """Open the ledger at a URL, sealed or not; see ``open_ledger``."""
    if url.get_backend_name() == "sqlite":
        _refuse_file_on_many_machines(url)
    # Imported here, because SQLAlchemy and Alembic are slow to load, and a DAG file does not need them.
    from airflow_provider_capillary.ledger.ledger import Ledger

    try:
        return Ledger(url, must_exist=must_exist, without_wal=without_wal)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the ledger's database driver is missing ({error.name}). Install airflow-provider-capillary[postgres]"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"the ledger's file {url.database} cannot be made: {error}") from error


def ledger_url(ledger_conn_id: str | None) -> URL:
    """The URL of the ledger: of a connection, or of the default file."""
    if not ledger_conn_id:
        return URL.create("sqlite", database=str(airflow_home() / DEFAULT_FILE))
    try:
        connection = BaseHook.get_connection(ledger_conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"there is no connection {ledger_conn_id!r} for the ledger. Create it, or correct ledger_conn_id"
        ) from error
    return url_of(connection)


def place_url(place: str) -> URL:
    """Read what a person writes for a ledger: a connection's id, a SQLAlchemy URL, or the path of an SQLite file."""
    if "://" in place:
        try:
            return make_url(place)
        except ArgumentError:
            raise ConfigurationError("that is no SQLAlchemy URL such as sqlite:////path/ledger.db") from None
    if "/" in place or place.endswith(".db"):
        return URL.create("sqlite", database=str(Path(place).expanduser().absolute()))
    return ledger_url(place)


def url_of(connection: Connection) -> URL:
    """Make a URL of an Airflow connection. ``get_uri()`` is not used, because it puts all extras into the URL."""
    kind = (connection.conn_type or "").lower().partition("+")[0]
    if kind == "sqlite":
        return URL.create("sqlite", database=_sqlite_path(connection))
    if kind in ("postgres", "postgresql"):
        if _is_true(connection.extra_dejson.get("iam")):
            raise ConfigurationError(
                f"connection {connection.conn_id!r} has the extra 'iam' (a token of AWS in place of a password), which "
                "a ledger cannot use: tokens end within minutes, and a job reconnects for hours. Give the ledger a "
                "connection with a password, to a database user of its own"
            )
        return URL.create(
            "postgresql+psycopg",
            username=connection.login or None,
            password=connection.password or None,
            host=connection.host or None,
            port=connection.port,
            database=connection.schema or None,
            query=_driver_options(connection.extra_dejson),
        )
    raise ConfigurationError(
        f"connection {connection.conn_id!r} is of type {connection.conn_type!r}; "
        "a ledger needs one of type postgres, or of type sqlite on one machine"
    )


def remote_executor(executors: str, environ: Mapping[str, str]) -> str | None:
    """Which executor may run tasks on another machine than the scheduler's, or ``None`` if there is none.

    :param executors: ``[core] executor``: names, aliases (``alias:path``) and class paths, separated by commas; lists
        of teams (``team=...``), separated by semicolons. All of them count, because any task may ask for any.
    :param environ: the environment of this process.
    """
    if environ.get(_POD_MARK):
        return "KubernetesExecutor"
    of_teams = [team.rpartition("=")[2] for team in executors.split(";")]
    names = [name.strip().rpartition(":")[2].strip() for team in of_teams for name in team.split(",")]
    return next((name for name in names if name and name not in _ONE_MACHINE), None)


def _refuse_file_on_many_machines(url: URL) -> None:
    executor = remote_executor(configured_executors(), os.environ)
    if executor is None:
        return
    raise ConfigurationError(
        f"The ledger would be the SQLite file {url.database}, but with {executor} tasks may run on other machines, "
        "where the file would be lost or split and badges granted twice. Nothing was sent. Create an Airflow "
        "connection to a PostgreSQL database that all workers reach, such as AIRFLOW_CONN_CAPILLARY_LEDGER="
        "postgresql://user:password@host:5432/database, and name it: ledger_conn_id='capillary_ledger' on the "
        "operator, or for all of them ledger_conn_id = capillary_ledger in the section [capillary] of airflow.cfg "
        "(AIRFLOW__CAPILLARY__LEDGER_CONN_ID)."
    )


def _sqlite_path(connection: Connection) -> str:
    """The path, as Airflow's SQLite hook reads it: the host is the path or its start; without host it is absolute."""
    host, schema = connection.host or "", connection.schema or ""
    path = f"{host}/{schema}" if host and schema else host or (f"/{schema.lstrip('/')}" if schema else "")
    if not path or ":memory:" in path:
        raise ConfigurationError(
            f"connection {connection.conn_id!r} names no file for the ledger. Give the path as its host, such as "
            "/var/lib/airflow/capillary_ledger.db"
        )
    # A relative path is below AIRFLOW_HOME: processes with different working directories must find the same ledger.
    return str(airflow_home() / path)


def _is_true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes", "on")


def _driver_options(extra: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(extra[name]) for name in _POSTGRES_EXTRAS if extra.get(name) not in (None, "")}
