"""Writes why rows were not accepted, hundreds in one statement, because a dataset may hold a million bad rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.ledger.packing import storable
from airflow_provider_capillary.ledger.rows import executed, number_array, text_array

_LARGEST = 2**63 - 1
_COLUMNS = "row_number, state, stage, code, message, request_id, attempt, badge_meta_id, source, line, original"
_REPLACE = """
    ON CONFLICT (job_id, row_number) DO UPDATE SET state = excluded.state, stage = excluded.stage,
        code = excluded.code, message = excluded.message, request_id = excluded.request_id,
        attempt = excluded.attempt, badge_meta_id = excluded.badge_meta_id, source = excluded.source,
        line = excluded.line, original = excluded.original
"""
#: Keep an earlier issue, and append the new reason unless the message already has it.
_ADD = """
    ON CONFLICT (job_id, row_number) DO UPDATE SET stage = excluded.stage,
        message = capillary_row_issue.message || '; ' || excluded.message
    WHERE capillary_row_issue.state = excluded.state
        AND {position}(capillary_row_issue.message, excluded.message) = 0
"""
_SQLITE = f"INSERT INTO capillary_row_issue (job_id, {_COLUMNS}) VALUES {{rows}} "
_POSTGRES = f"""
    INSERT INTO capillary_row_issue (job_id, {_COLUMNS})
    SELECT %(job)s, k.* FROM unnest(%(c0)s::bigint[], %(c1)s::text[], %(c2)s::text[], %(c3)s::bigint[],
        %(c4)s::text[], %(c5)s::text[], %(c6)s::int[], %(c7)s::text[], %(c8)s::text[], %(c9)s::bigint[],
        %(c10)s::text[]) AS k
"""
_NUMBERS = (0, 3, 6, 9)  #: the columns that hold numbers


def add_issues(connection: sa.Connection, job: int, issues: Sequence[RowIssue], *, keep_earlier: bool) -> None:
    """Write why rows were not accepted. Of two issues of a row the later one counts.

    :param keep_earlier: the earlier one counts. If both are about the same state, and the earlier message does not
        contain the later one, the later one is appended.
    """
    rows = _one_a_row([_values(issue) for issue in issues], keep_earlier)
    is_sqlite = connection.dialect.name == "sqlite"
    conflict = _ADD.format(position="instr" if is_sqlite else "strpos") if keep_earlier else _REPLACE
    if is_sqlite:
        for _ in executed(connection, _SQLITE + conflict, (job,), rows, "?1, "):
            pass
    elif rows:
        columns = enumerate(zip(*rows, strict=True))
        arrays = {f"c{at}": number_array(column) if at in _NUMBERS else text_array(column) for at, column in columns}
        connection.exec_driver_sql(_POSTGRES + conflict, {"job": job, **arrays})


def _one_a_row(rows: list[tuple[Any, ...]], keep_earlier: bool) -> list[tuple[Any, ...]]:
    """PostgreSQL refuses a statement that would change one row twice."""
    of_row = {row[0]: row for row in (reversed(rows) if keep_earlier else rows)}
    return rows if len(of_row) == len(rows) else list(of_row.values())


def _values(issue: RowIssue) -> tuple[Any, ...]:
    code = issue.code
    return (
        issue.row_number,
        issue.state.value,
        issue.stage,
        # a code comes from the API, so it may be any number
        code if code is None or abs(code) <= _LARGEST else None,
        storable(issue.message),
        storable(issue.request_id),
        issue.attempt,
        storable(issue.badge_meta_id),
        storable(issue.source),
        issue.line,
        msgspec.json.encode(issue.original).decode(),
    )
