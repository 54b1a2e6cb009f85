"""What goes into a batch's packed rows and ids comes out as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_capillary.ledger.packing import (
    BatchColumns,
    pack_ids,
    pack_rows,
    unpack_ids,
    unpack_rows,
)

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32),
    st.integers(0, 2**8),
    st.sampled_from([0, 1, -1, 2**8 - 1, 2**8, 2**16 - 1, 2**16, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -(2**63)]),
)
HEXADECIMAL = st.text("0123456789abcdef", min_size=24, max_size=24)
#: Texts that nearly are what an id usually is.
NEARLY = st.sampled_from(["0" * 24, "A" * 24, "g" * 24, "a" * 23, "a" * 25, " " * 24, "ab " * 8, "٣" * 24, "", "null"])
IDS = st.lists(st.none() | HEXADECIMAL | NEARLY | st.text(st.characters(exclude_categories=["Cs"]), max_size=30))


@st.composite
def columns(draw: st.DrawFn) -> BatchColumns:
    rows = draw(st.integers(0, 40))
    one_value = NUMBERS.map(lambda number: [number] * rows)
    column = one_value | st.lists(NUMBERS, min_size=rows, max_size=rows)
    return BatchColumns(*(draw(column) for _ in BatchColumns._fields))


@given(columns())
def test_rows_come_out_as_they_went_in(rows: BatchColumns) -> None:
    assert unpack_rows(pack_rows(rows), len(rows.numbers)) == rows


@pytest.mark.parametrize(
    ("largest", "width"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32 - 1, 4), (2**32, 8), (2**63 - 1, 8)]
)
def test_a_column_takes_as_few_bytes_as_needed(largest: int, width: int) -> None:
    same = [0] * 10
    column = [*range(9), largest]
    packed = pack_rows(BatchColumns(same, same, column, same, same, same))
    assert len(packed) == 5 * 9 + 1 + width * 10
    assert unpack_rows(packed, 10).badges == column


@given(IDS)
def test_ids_come_out_as_they_went_in(ids: list[str | None]) -> None:
    assert unpack_ids(pack_ids(ids), len(ids)) == ids


@given(st.lists(HEXADECIMAL | st.none(), min_size=1))
def test_usual_ids_take_twelve_bytes_each(ids: list[str | None]) -> None:
    if "0" * 24 not in ids:
        assert len(pack_ids(ids)) == 1 + 12 * len(ids)


@given(columns())
def test_sorted_keys_are_those_of_the_rows(rows: BatchColumns) -> None:
    assert list(zip(*rows.sorted_keys(), strict=True)) == sorted(rows.keys())
