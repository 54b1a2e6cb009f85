"""Writes values into cells of a CSV file, so that an import reads them as they were and no spreadsheet runs them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

#: Longer text is cut, because readers of CSV (Python's is one) stop at 131,072 characters in a value.
LONGEST_TEXT = 100_000
_EXACT_FLOAT = 2**53
# Line ends and tabs stay in values: CSV can hold them, and they are common in good text.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that would break the line, or reverse its direction and so show another text.
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Most values, ISO timestamps included, match this and need no further look.
_PLAIN_TEXT = re.compile(r"[0-9A-Za-z][^;|\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*")
# A cell may also begin after a semicolon (spreadsheets of countries with decimal commas split there), a tab or a line
# end (pasted text). The match includes the run of blanks and quotes, because the search would else be quadratic.
_CELL_START = re.compile(r"(?:^|[;|\t\r\n])[\s\"]*")
_TRIGGERS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # Japanese spreadsheets run the full-width forms too
# A number, a phone number or an offset such as +05:30 is harmless: without letters and brackets it calls nothing.
_PLAIN_NUMBER = re.compile(r"[+-]\d[\d .,:]*(?:[eE][+-]?\d+)?(?=[;|\t\r\n]|\Z)", re.ASCII)


def original_cell(value: Any) -> str:
    r"""A JSON-ready value of the dataset as text that, imported again, means the same.

    Whole floats lose their ``.0``, because the import accepts it in a float but not in text. Text stays exact with
    three exceptions: control characters are escaped (``\x07``), an apostrophe is put before what a spreadsheet would
    run, and text is cut at ``LONGEST_TEXT``. None of the three changes a value that the import accepts for a field.
    """
    if isinstance(value, str):
        return _harmless(value, _UNWRITABLE)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return str(int(value))
    return _harmless(msgspec.json.encode(value).decode(), _UNWRITABLE)


@lru_cache(maxsize=128)  # one source, one job and a few messages stand in all rows
def report_cell(value: str | int | None) -> str:
    """A value of the report itself: text, which may be the API's, on one line and harmless."""
    if isinstance(value, str):
        return _harmless(value, _NOT_IN_A_LINE)
    return "" if value is None else str(value)


def _harmless(text: str, unwanted: re.Pattern[str]) -> str:
    if _PLAIN_TEXT.fullmatch(text):
        return text[:LONGEST_TEXT]
    clean = unwanted.sub(_escaped, text[:LONGEST_TEXT])
    return _CELL_START.sub(_defused, clean)[:LONGEST_TEXT]


def _defused(start: re.Match[str]) -> str:
    found, text, end = start.group(), start.string, start.end()
    at_the_front = "'" if start.start() == 0 and found[:1] in ("\t", "\r", "\n") else ""
    runs = text[end : end + 1] in _TRIGGERS and not _PLAIN_NUMBER.match(text, end)
    return f"{at_the_front}{found}'" if runs else f"{at_the_front}{found}"


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")
