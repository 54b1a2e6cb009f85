"""Finds the ledgers that the page can show: the default one, and those that DAGs name with ``ledger_conn_id``."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy.engine import URL

from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.ledger.reader import LedgerReader
from airflow_provider_capillary.operators.airflow_installation import option
from airflow_provider_capillary.operators.ledger_location import ledger_url
from airflow_provider_capillary.plugins.badge_imports.dag_arguments import tasks_of

#: The name of the default ledger in addresses: no name.
DEFAULT = ""
SECONDS_REMEMBERED = 120.0


class NamedLedger(msgspec.Struct, frozen=True):
    """A ledger that some Dags use."""

    conn_id: str  #: empty for the default one
    dag_ids: frozenset[str] = frozenset()  #: that name it

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.conn_id or option("ledger_conn_id") or "the default ledger"

    def open(self) -> LedgerReader:
        """Give its reader.

        :raises ConfigurationError: there is no such connection.
        """
        return _reader(ledger_url(self.conn_id or option("ledger_conn_id")))


class UnknownLedgerError(CapillaryError):
    """No Dag names a ledger of that connection."""


def known_ledgers() -> list[NamedLedger]:
    """The default ledger first, then the others by name."""
    others = _by_connection()
    standard = option("ledger_conn_id")
    return [NamedLedger(DEFAULT), *(NamedLedger(name, others[name]) for name in sorted(others) if name != standard)]


def named(conn_id: str) -> NamedLedger:
    """The ledger of that connection, if a Dag uses it. The page must not open any other connection.

    :raises UnknownLedgerError: no Dag names it.
    """
    for ledger in known_ledgers():
        if ledger.conn_id == conn_id:
            return ledger
    raise UnknownLedgerError(f"No Dag of this Airflow names a ledger of the connection {conn_id!r}.")


@lru_cache(maxsize=32)
def _reader(url: URL) -> LedgerReader:
    return LedgerReader(url)


_lock = threading.Lock()
_remembered: tuple[float, dict[str, frozenset[str]]] = (float("-inf"), {})


def forget() -> None:
    """Look again at the next request."""
    global _remembered
    _remembered = (float("-inf"), {})


def _by_connection() -> dict[str, frozenset[str]]:
    global _remembered
    with _lock:
        since, found = _remembered
        if time.monotonic() - since > SECONDS_REMEMBERED:
            found = _look()
            _remembered = (time.monotonic(), found)
    return found


def _look() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    with create_session() as session:
        data = sa.cast(SerializedDagModel._data, sa.Text)
        # Compressed DAGs cannot be searched in SQL. They are few, so all of them are read.
        query = sa.select(SerializedDagModel).where(
            sa.or_(data.like("%ledger_conn_id%"), SerializedDagModel._data_compressed.is_not(None))
        )
        for dag in session.scalars(query):
            for name in _ledger_names(dag.data):
                found.setdefault(name, set()).add(dag.dag_id)
    return {name: frozenset(dag_ids) for name, dag_ids in found.items()}


def _ledger_names(dag: Mapping[str, Any] | str | None) -> Iterator[str]:
    for task in tasks_of(dag):
        name = task.get("ledger_conn_id")
        # a template may name another ledger for each run, so it names none that could be listed
        if isinstance(name, str) and name and "{{" not in name:
            yield name
