"""Writes why rows were not accepted, hundreds in one statement, because a dataset may hold a million bad rows.

Facts of an issue that no statement asks for stand together in ``details``, as JSON. So
a new field of ``RowIssue`` is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.ledger.facts import RowIssue
from airflow_provider_capillary.ledger.packing import number_array, storable, text_array
from airflow_provider_capillary.ledger.rows import executed

_LARGEST = 2**63 - 1
_COLUMNS = ("row_number", "state", "stage", "code", "message", "badge_meta_id", "details", "original")
_DETAILS = tuple(name for name in RowIssue.__struct_fields__ if name not in _COLUMNS)
_NAMES = ", ".join(_COLUMNS)
_REPLACE = f"""
    ON CONFLICT (job_id, row_number) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])}
"""
#: Keep an earlier issue, and append the new reason unless the message already has it.
_ADD = """
    ON CONFLICT (job_id, row_number) DO UPDATE SET stage = excluded.stage,
        message = capillary_row_issue.message || '; ' || excluded.message
    WHERE capillary_row_issue.state = excluded.state
        AND {position}(capillary_row_issue.message, excluded.message) = 0
"""
_SQLITE = f"INSERT INTO capillary_row_issue (job_id, {_NAMES}) VALUES {{rows}} "
_POSTGRES = f"""
    INSERT INTO capillary_row_issue (job_id, {_NAMES})
    SELECT %(job)s, k.* FROM unnest(%(c0)s::bigint[], %(c1)s::text[], %(c2)s::text[], %(c3)s::bigint[],
        %(c4)s::text[], %(c5)s::text[], %(c6)s::text[], %(c7)s::text[]) AS k
"""
_NUMBERS = (0, 3)  #: the columns that hold numbers


def add_issues(connection: sa.Connection, job: int, issues: Sequence[RowIssue], *, keep_earlier: bool) -> None:
    """Write why rows were not accepted. Of two issues of a row the later one counts.

    :param keep_earlier: the earlier one counts. If both are about the same state, and the earlier message does not
        contain the later one, the later one is appended.
    """
    rows = _one_a_row([tuple(issue_columns(issue).values()) for issue in issues], keep_earlier)
    is_sqlite = connection.dialect.name == "sqlite"
    conflict = _ADD.format(position="instr" if is_sqlite else "strpos") if keep_earlier else _REPLACE
    if is_sqlite:
        for _ in executed(connection, _SQLITE + conflict, (job,), rows, "?1, "):
            pass
    elif rows:
        columns = enumerate(zip(*rows, strict=True))
        arrays = {f"c{at}": number_array(column) if at in _NUMBERS else text_array(column) for at, column in columns}
        connection.exec_driver_sql(_POSTGRES + conflict, {"job": job, **arrays})


def issue_columns(issue: RowIssue) -> dict[str, Any]:
    """An issue as the columns of its row."""
    code = issue.code
    details = {name: getattr(issue, name) for name in _DETAILS}
    return {
        "row_number": issue.row_number,
        "state": issue.state.value,
        "stage": issue.stage,
        # a code comes from the API, which may say anything
        "code": code if code is None or abs(code) <= _LARGEST else None,
        "message": storable(issue.message),
        "badge_meta_id": storable(issue.badge_meta_id),
        "details": _json(
            {name: storable(value) if isinstance(value, str) else value for name, value in details.items()}
        ),
        "original": _json(issue.original),
    }


def kept_issue(found: Mapping[str, Any]) -> RowIssue:
    """The issue that was kept in these columns."""
    kept = dict(found)
    kept |= msgspec.json.decode(kept.pop("details")) | {"original": msgspec.json.decode(kept["original"])}
    return msgspec.convert(kept, RowIssue)


def _json(facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode(facts).decode()


def _one_a_row(rows: list[tuple[Any, ...]], keep_earlier: bool) -> list[tuple[Any, ...]]:
    """PostgreSQL refuses a statement that would change one row twice."""
    of_row = {row[0]: row for row in (reversed(rows) if keep_earlier else rows)}
    return rows if len(of_row) == len(rows) else list(of_row.values())
