"""Copies a whole ledger, with its identity, to another place: SQLite or PostgreSQL on either side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.ledger.database import durably, shown
from airflow_provider_capillary.ledger.engine import make_engine
from airflow_provider_capillary.ledger.ledger import Ledger

_ROWS_AT_ONCE = 2_000
_REVISION = "capillary_alembic_version"


def move_ledger(source: Ledger, target: str | URL) -> int:
    """Copy a ledger and seal the source, so that no import uses it any more; give the number of rows.

    The source is sealed first. A copy that fails leaves an empty target and unseals the source, so it can be repeated.

    :raises ConfigurationError: the target is in use already, or the source was copied elsewhere before.
    :raises JobIsRunningError: a job runs.
    """
    place, sealed_for = shown(make_url(target)), source.sealed_for
    if sealed_for not in (None, place):
        raise ConfigurationError(f"the ledger {source.description} was copied to {sealed_for} before, and is sealed")
    with closing(Ledger(target)) as new:
        _refuse_used(new)
        source.seal(place)
        try:
            return _copy(source, target)
        except BaseException:
            source.seal(None)
            raise


def copy_ledger(source: Ledger, target: str | URL) -> int:
    """Copy a ledger as it is at one moment, while imports may use the source; give the number of rows.

    :raises ConfigurationError: the target is in use already.
    """
    with closing(Ledger(target)) as new:
        _refuse_used(new)
        return _copy(source, target)


def _refuse_used(target: Ledger) -> None:
    if not target.state().is_empty:
        raise ConfigurationError(
            f"{target.description} holds a ledger with jobs already. Nothing was copied; give a place that has none"
        )


def _copy(source: Ledger, target: str | URL) -> int:
    engine = make_engine(target)
    try:
        with source.contents() as origin:
            return durably(engine, lambda connection: _fill(origin, connection))
    finally:
        engine.dispose()


def _fill(origin: sa.Connection, target: sa.Connection) -> int:
    here, there = sa.MetaData(), sa.MetaData()
    here.reflect(origin)
    there.reflect(target)
    # Go by the target's tables: the source may have partitions, whose rows are already those of their table.
    tables = [table for table in there.sorted_tables if table.name != _REVISION]
    guards = _take_guards_away(target, tables)
    count = 0
    for table in tables:
        if table.name == "capillary_ledger":
            target.execute(table.delete())
        rows = origin.execution_options(yield_per=_ROWS_AT_ONCE).execute(sa.select(here.tables[table.name]))
        for part in rows.mappings().partitions():
            target.execute(table.insert(), [dict(row) for row in part])
            count += len(part)
    target.execute(there.tables["capillary_ledger"].update().values(sealed_for=None))
    for statement in guards:
        target.execute(sa.text(statement.replace(":", "\\:")))
    if target.dialect.name == "postgresql":
        _number_on(target, tables)
    return count


def _take_guards_away(target: sa.Connection, tables: Sequence[sa.Table]) -> list[str]:
    """Remove the triggers, so that rows can be inserted in any state; give the statements that put them back."""
    if target.dialect.name == "postgresql":
        for table in tables:
            target.execute(sa.text(f"ALTER TABLE {table.name} DISABLE TRIGGER USER"))
        return [f"ALTER TABLE {table.name} ENABLE TRIGGER USER" for table in tables]
    found = target.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for guard in found:
        target.execute(sa.text(f"DROP TRIGGER {guard.name}"))
    return [guard.sql for guard in found]


def _number_on(target: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Let PostgreSQL number new rows after the copied ones."""
    for table in (table for table in tables if "id" in table.c):
        sequence = target.execute(
            sa.text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}
        ).scalar()
        if sequence is not None:
            largest = target.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
            target.execute(
                sa.text("SELECT setval(:sequence, :next, false)"), {"sequence": sequence, "next": largest + 1}
            )
