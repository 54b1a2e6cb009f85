"""Which earnedBadgeIds stand in a ledger, whatever its tables are called and however they write an id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from airflow_provider_capillary.ledger.engine import make_engine


def ids_in_ledger(url: str, ids: set[str]) -> set[str]:
    """Those of the ids that stand in any column of any table, as text or as bytes."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            held = "\n".join(_texts(connection))
    finally:
        engine.dispose()
    return {each for each in ids if each in held}


def _texts(connection: sa.Connection) -> Iterator[str]:
    for name in sa.inspect(connection).get_table_names():
        for row in connection.execute(sa.text(f'SELECT * FROM "{name}"')):
            yield from map(_text, row)


def _text(value: Any) -> str:
    if isinstance(value, (bytes, memoryview)):
        return f"{bytes(value).hex()} {bytes(value).decode('latin-1')}"
    return str(value) if isinstance(value, (str, list, dict)) else ""
