"""Packs a batch's rows and ids into bytes, columns into PostgreSQL's arrays, and makes texts of the API storable.

``rows`` holds the row number, customer, badge, earn instant, expiry and occurrence of each row, column by column, in
the order of the row numbers. A column begins with its kind: ``=`` one number of 8 bytes for all rows; ``B``, ``H``,
``I``, ``q`` 1, 2, 4 or 8 bytes a row; all little-endian. ``ids`` begins with ``h``, then 12 bytes a row (24 hexadecimal
digits, zeros for no id), or with ``j``, then a JSON list of texts and nulls.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from operator import lt
from typing import NamedTuple, cast

import msgspec

from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges

_ID_BYTES = 12
_NO_ID = "0" * 2 * _ID_BYTES

#: (customer_id, badge_id, earned_at, occurrence)
Key = tuple[int, int, int, int]


class KeyColumns(NamedTuple):
    """Identities as columns, in the order of the ledger's table; ``badges`` are the ledger's own numbers."""

    customers: Sequence[int]
    badges: Sequence[int]
    earned: Sequence[int]
    occurrences: Sequence[int]

    @classmethod
    def of(cls, keys: Sequence[Key]) -> KeyColumns:
        """Identities that are sorted already."""
        return cls(*zip(*keys, strict=True)) if keys else cls((), (), (), ())


class NewRows(NamedTuple):
    """The rows of one batch, which the ledger does not hold yet."""

    batch: int
    keys: KeyColumns


class BatchColumns(NamedTuple):
    """The rows of a batch by row number; ``badges`` are the ledger's own numbers."""

    numbers: Sequence[int]
    customers: Sequence[int]
    badges: Sequence[int]
    earned: Sequence[int]
    expires: Sequence[int]
    occurrences: Sequence[int]

    def keys(self) -> list[Key]:
        """The rows' identities, in order."""
        return list(zip(self.customers, self.badges, self.earned, self.occurrences, strict=True))

    def sorted_keys(self) -> KeyColumns:
        """The rows' identities, sorted. If the customers alone give the order, as nearly always, no tuple is made.

        A thousand tuples cost as much as all other work on a batch's rows here.
        """
        if all(map(lt, self.customers, self.customers[1:])):
            return KeyColumns(*self[1:4], self.occurrences)
        return KeyColumns.of(sorted(self.keys()))


def columns_of(badges: Sequence[EarnedBadge], badge_keys: dict[str, int]) -> BatchColumns:
    """The rows as columns.

    :param badge_keys: ``badge_meta_id`` -> the ledger's number.
    """
    rows = EarnedBadges.of(badges)
    if rows.row_numbers != sorted(rows.row_numbers):
        rows = rows.take(sorted(range(len(rows)), key=rows.row_numbers.__getitem__))
    return BatchColumns(
        rows.row_numbers,
        rows.customer_ids,
        list(map(badge_keys.__getitem__, rows.badge_meta_ids)),
        rows.earned_at,
        rows.expires_at,
        rows.occurrences or [1] * len(rows),
    )


def pack_rows(columns: BatchColumns) -> bytes:
    """The columns as bytes."""
    return b"".join(map(_packed, columns))


def unpack_rows(packed: bytes, rows: int) -> BatchColumns:
    """The columns of so many rows."""
    found: list[Sequence[int]] = []
    at = 0
    for _ in BatchColumns._fields:
        kind, at = packed[at : at + 1], at + 1
        if kind == b"=":
            number = int.from_bytes(packed[at : at + 8], "little", signed=True)
            found.append([number] * rows)
            at += 8
            continue
        numbers = array(kind.decode())
        end = at + rows * numbers.itemsize
        numbers.frombytes(packed[at:end])
        if sys.byteorder == "big":
            numbers.byteswap()
        found.append(numbers.tolist())
        at = end
    return BatchColumns(*found)


def pack_ids(ids: Sequence[str | None]) -> bytes:
    """The ids as bytes, exactly: if one is not 24 lower-case hexadecimal digits, all stay text."""
    texts = [_NO_ID if text is None else text for text in ids] if None in ids else cast("Sequence[str]", ids)
    # check each length, because a short id and a long one together could have the right sum
    if set(map(len, texts)) == {len(_NO_ID)} and texts.count(_NO_ID) == ids.count(None):
        joined = "".join(texts)
        with suppress(ValueError):
            packed = bytes.fromhex(joined)
            if packed.hex() == joined:
                return b"h" + packed
    return b"j" + msgspec.json.encode(ids)


def unpack_ids(packed: bytes | None, rows: int) -> list[str | None]:
    """The id of each row, ``None`` where there is none."""
    if packed is None:
        return [None] * rows
    if packed[:1] == b"j":
        return msgspec.json.decode(packed[1:], type=list[str | None])
    text = packed[1:].hex()
    ids = [text[at : at + 24] for at in range(0, len(text), 24)]
    return [None if one == _NO_ID else one for one in ids]


def text_array(texts: Sequence[str | None]) -> str:
    """Texts as the text of a PostgreSQL array, with all characters quoted, because ids come from the API."""
    return f"{{{','.join(map(_quoted, texts))}}}"


def number_array(numbers: Sequence[int]) -> str:
    """Numbers as the text of a PostgreSQL array: JSON with other brackets. The driver's own way is slower."""
    return f"{{{msgspec.json.encode(numbers)[1:-1].decode()}}}"


def storable_all(texts: Sequence[str | None]) -> Sequence[str | None]:
    """Texts that can be stored. If all together are plain, as ids are, none is checked alone."""
    joined = "".join(filter(None, texts))
    if joined.isascii() and "\0" not in joined:
        return texts
    return list(map(storable, texts))


def storable(text: str | None) -> str | None:
    """A text that can be stored: PostgreSQL refuses NUL, every database a lone surrogate, and the API may send both."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _packed(numbers: Sequence[int]) -> bytes:
    if not numbers:
        return b"=" + bytes(8)
    if numbers[0] == numbers[-1] and numbers.count(numbers[0]) == len(numbers):
        return b"=" + numbers[0].to_bytes(8, "little", signed=True)
    column = _narrowest(numbers)
    if sys.byteorder == "big":
        column.byteswap()
    return column.typecode.encode() + column.tobytes()


def _narrowest(numbers: Sequence[int]) -> array[int]:
    for kind in "BHI":
        with suppress(OverflowError):  # below 0, or beyond so many bytes
            return array(kind, numbers)
    return array("q", numbers)


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    if text.isalnum() and text.isascii():
        return f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
