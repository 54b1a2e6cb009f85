"""A ledger's database: its transactions, and the clock that all who share the ledger agree on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL

from airflow_provider_capillary.clocks import Boot
from airflow_provider_capillary.core.moments import Moment
from airflow_provider_capillary.ledger import engine
from airflow_provider_capillary.ledger.queries import QUERIES
from airflow_provider_capillary.ledger.rows import rows_for
from airflow_provider_capillary.ledger.sqlite_file import refuse_unfit

_Result = TypeVar("_Result")


class Database:
    """What the parts of a ledger share; for the parameters see ``Ledger``."""

    def __init__(
        self,
        url: str | URL,
        *,
        clock: Callable[[], float] | None,
        boot: Callable[[], Boot | None],
        patience: float,
        without_wal: bool,
    ) -> None:
        self.engine = engine.make_engine(url, patience=patience)
        self.file = engine.file_of(self.engine)  #: of SQLite
        if self.file is not None:
            refuse_unfit(self.file, without_wal=without_wal)
        self.description = engine.shown(self.engine.url)  #: where it is, without credentials
        self.rows = rows_for(self.engine.dialect.name)  #: the statements over many rows
        self._clock = clock or time.time
        self._boot = boot

    @property
    def is_sqlite(self) -> bool:
        """Whether the ledger is a file, which has no clock of its own."""
        return self.engine.dialect.name == "sqlite"

    def durably(self, work: Callable[[sa.Connection], _Result]) -> _Result:
        """Do the work in one durable transaction; see ``engine.durably``."""
        return engine.durably(self.engine, work)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection for reading."""
        return engine.reading(self.engine)

    def snapshot(self) -> AbstractContextManager[sa.Connection]:
        """A connection on which all that is read is of one moment."""
        return engine.snapshot(self.engine)

    def now(self, connection: sa.Connection) -> float:
        """Epoch seconds: the database's clock, or this machine's where the ledger is a file."""
        return self._clock() if self.is_sqlite else float(connection.execute(QUERIES["now"]).scalar_one())

    def moment(self, connection: sa.Connection) -> Moment:
        """This moment by every clock there is."""
        at, server = self._clock(), None
        if not self.is_sqlite:
            at, server = connection.execute(QUERIES["now_by_server"]).one()
        return self.moment_at(at, server)

    def moment_at(self, at: float, server: float | None) -> Moment:
        """A moment of which the database's clocks are read already."""
        time_of_day = None if server is None else self._clock()
        if (boot := self._boot()) is None:
            return Moment(at, server, time_of_day=time_of_day)
        return Moment(at, server, boot.boot_id, boot.seconds, time_of_day)

    def close(self) -> None:
        """Give connections back."""
        self.engine.dispose()


def moment_values(now: Moment) -> dict[str, Any]:
    """A moment as columns of a batch."""
    return {
        "now": now.at,
        "server": now.server,
        "boot_id": now.boot_id,
        "boot_time": now.boot_seconds,
        "time_of_day": now.time_of_day,
    }
