"""A ledger as an older version of the package left it: its tables by its own migrations, its rows by SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from airflow_provider_capillary.ledger.migrations import upgrade as migrations

from .building import EARNED, GOLD, SILVER

ORGANISATION = "acme"
LONG_AGO = 1_700_100_000.0
#: What each job left: how it ended, and the states of its rows, by row number.
LEFT = {
    "finished": {1: "accepted", 2: "accepted", 3: "rejected", 4: "unknown"},
    "failed": {5: "accepted", 6: "unknown", 7: "planned", 8: "rejected"},
    "open": {9: "accepted", 10: "intent", 11: "intent", 12: "unknown", 13: "planned"},
}
#: Accepted once, and taken back where the version could do that.
REVOKED = 2
#: Rows without proof that the API has nevertheless.
GRANTED = frozenset({4, 10, 12})
STATES = {row: state for rows in LEFT.values() for row, state in rows.items()}
TABLES = ("organisation", "badge", "job", "batch", "earned_badge", "row_issue", "request_budget")


def make(url: str, revision: str) -> None:
    """Run the migrations up to a revision and leave rows, as its version would have."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            _migrate(connection, revision)
            _fill(connection, has_budget=revision >= "0002")
            if revision >= "0003":
                connection.execute(
                    sa.text("UPDATE capillary_earned_badge SET state = 'revoked' WHERE row_number = :row"),
                    {"row": REVOKED},
                )
    finally:
        engine.dispose()


def contents(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of the first versions."""
    there = set(sa.inspect(connection).get_table_names())
    found = {}
    for table in (f"capillary_{name}" for name in TABLES):
        if table in there:
            rows = connection.execute(sa.text(f"SELECT * FROM {table}")).mappings()
            found[table] = sorted((dict(row) for row in rows), key=str)
    return found


def customer(row: int) -> int:
    return 1_000 + row


def earned_at(row: int) -> int:
    return EARNED + row


def _migrate(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _fill(connection: sa.Connection, *, has_budget: bool) -> None:
    add = _adder(connection)
    add("organisation", id=1, name=ORGANISATION, host="http://127.0.0.1")
    for key, name in enumerate((GOLD, SILVER), 1):
        add("badge", id=key, badge_meta_id=name)
    for key, (state, rows) in enumerate(LEFT.items(), 1):
        _job(connection, key, state)
        for row, row_state in rows.items():
            _row(connection, key, row, row_state)
    if has_budget:
        add("request_budget", organisation=ORGANISATION, turn=LONG_AGO)
    if connection.dialect.name == "postgresql":
        # keys were numbered by hand: the next ones come after them
        for table in ("organisation", "badge", "job", "batch"):
            sequence = f"pg_get_serial_sequence('capillary_{table}', 'id')"
            connection.execute(sa.text(f"SELECT setval({sequence}, 1000)"))


def _adder(connection: sa.Connection) -> Any:
    def add(table: str, **values: Any) -> None:
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(sa.text(f"INSERT INTO capillary_{table} ({names}) VALUES ({places})"), values)

    return add


def _job(connection: sa.Connection, key: int, state: str) -> None:
    rows = LEFT[state]
    counts = {"rows_read": len(rows), "accepted": 0, "already_accepted": 0, "rejected": 0, "invalid": 0}
    summary = counts | {"unknown": 0, "not_sent": len(rows)}
    _adder(connection)(
        "job",
        id=key,
        job_id=f"00000000-0000-5000-8000-00000000000{key}",
        organisation_id=1,
        dag_id="nightly",
        task_id="import_badges",
        run_id=f"old-{state}",
        map_index=-1,
        max_tries=0,
        dry_run=False,
        dataset_fingerprint="of long ago",
        settings="{}",
        sources='["old.parquet"]',
        row_count=len(rows),
        state=state,
        started_at=LONG_AGO,
        finished_at=None if state == "open" else LONG_AGO + 60,
        summary=None if state == "open" else json.dumps(summary),
        fence=2,
        lease_owner="another machine/7/1",
        lease_until=LONG_AGO + 60,
    )


def _row(connection: sa.Connection, job: int, row: int, state: str) -> None:
    add = _adder(connection)
    add(
        "batch",
        id=row,
        job_id=job,
        fence=1,
        attempt=1,
        row_count=1,
        fingerprint=f"body {row}",
        request_id=f"request-{row}",
        sent_at=LONG_AGO + row,
        settled_at=None if state == "intent" else LONG_AGO + row + 1,
        status=200 if state in ("accepted", "rejected") else None,
        verdict=None if state == "intent" else "PER_ROW",
    )
    add(
        "earned_badge",
        organisation_id=1,
        customer_id=customer(row),
        badge_id=1 + row % 2,
        earned_at=earned_at(row),
        occurrence=1,
        state="intent",
        job_id=job,
        row_number=row,
        batch_id=row,
        attempt=1,
        expires_at=earned_at(row) + 86_400,
    )
    if state != "intent":  # a row enters as an intent, and the trigger watches
        changed = {"state": state, "granted": f"65{row:022x}" if state == "accepted" else None, "row": row}
        statement = (
            "UPDATE capillary_earned_badge SET state = :state, earned_badge_id = :granted WHERE row_number = :row"
        )
        connection.execute(sa.text(statement), changed)
    for number, told in _told(row, state):
        add(
            "row_issue",
            job_id=job,
            row_number=number,
            state=told,
            stage="send",
            code=1026 if told == "rejected" else None,
            message=f"{told}, naïve “quotes”",
            request_id=None,
            attempt=1,
            badge_meta_id=GOLD,
            source="old.parquet",
            line=number,
            original=json.dumps({"customer_id": customer(row), "note": "ü"}),
        )


def _told(row: int, state: str) -> list[tuple[int, str]]:
    """The issues of a row, and now and then that of a row which is in no other table."""
    own = [(row, state)] if state in ("rejected", "unknown") else []
    return [*own, (100 + row, "invalid")] if row % 4 == 0 else own
