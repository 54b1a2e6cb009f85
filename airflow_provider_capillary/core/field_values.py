"""Reads one value of a dataset as a badge id, a customer id or an instant, or says why it is none."""

from __future__ import annotations

import math
import re
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from airflow_provider_capillary.core.earned_badge import LARGEST_CUSTOMER_ID
from airflow_provider_capillary.core.plain_values import BLANKS, FLOAT_LIMITS, OddValue, plain, text_of_any
from airflow_provider_capillary.core.timestamps import epoch_seconds

LONGEST_TEXT = 64
_LONG_INTEGER_BITS = 4_000
_FLOAT_LIMIT = FLOAT_LIMITS[8]
_BADGE_ID = re.compile(r"[0-9a-fA-F]{24}")
_CUSTOMER_ID = re.compile(r"([1-9][0-9]*)(\.0+)?")  # the zeros behind a point are pandas', of a column with gaps
_EXPONENT = re.compile(r"[0-9.,]+[eE]\+?[0-9]+")
_SEPARATED = re.compile(r"[0-9]{1,3}([., '_][0-9]{2,3})+")


class BadValueError(ValueError):
    """The field does not take the value. The message says why, as a phrase that follows the value."""


def shortened(value: Any) -> str:
    """Give a value as short printable text, control characters escaped."""
    if isinstance(value, int) and value.bit_length() > _LONG_INTEGER_BITS:
        return f"a whole number of {value.bit_length()} bits"  # Python refuses to write it out
    value = plain(value)
    text = value.text if isinstance(value, OddValue) else value if isinstance(value, str) else _written(value)
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _written(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the value's own class decides what is raised
        return text_of_any(value)


def _text_problem(text: str) -> str | None:
    if len(text) > LONGEST_TEXT:
        return f"is over-long ({len(text)} characters)"
    odd = None if text.isprintable() else next(character for character in text if not character.isprintable())
    if odd is not None and odd.isspace() and odd > " ":
        return f"holds a blank of another kind (U+{ord(odd):04X})"
    return None if odd is None else "holds control characters"


def is_absent(value: Any) -> bool:
    """Whether there is no value: none at all, or blank text."""
    return value is None or (isinstance(value, str) and not value.strip())


def _present(value: Any) -> Any:
    if isinstance(value, OddValue):
        raise BadValueError(value.reason)
    if is_absent(value):
        raise BadValueError("is missing")
    if isinstance(value, (float, Decimal)) and (value.is_nan() if isinstance(value, Decimal) else math.isnan(value)):
        raise BadValueError("is NaN (not a number)")
    if not isinstance(value, str):
        return value
    text = value.strip(BLANKS)
    if problem := _text_problem(text):
        raise BadValueError(problem)
    return text


def badge_id_of(value: Any) -> str:
    """The badge's id in lower case.

    :raises BadValueError: the value is no text of 24 hexadecimal digits.
    """
    text = _present(value)
    if not isinstance(text, str):
        raise BadValueError(f"is of type {type(value).__name__}; give text of 24 hexadecimal digits")
    if not _BADGE_ID.fullmatch(text):
        raise BadValueError("is not 24 hexadecimal digits, as a badgeMetaId is")
    return text.lower()


def customer_id_of(value: Any) -> int:
    """The customer's id, from any form that gives it exactly.

    :raises BadValueError: the value is no positive 64-bit whole number, or may have lost digits.
    """
    number = _present(value)
    if isinstance(number, str):
        number = _customer_number(number)
    elif isinstance(number, (float, Decimal)):
        number = _exact_integer(number)
    elif isinstance(number, bool) or not isinstance(number, int):
        raise BadValueError(f"is of type {type(value).__name__}; give a positive whole number")
    if not 0 < number <= LARGEST_CUSTOMER_ID:
        raise BadValueError("is not a positive 64-bit whole number")
    return number


def _customer_number(text: str) -> int:
    match = _CUSTOMER_ID.fullmatch(text)
    if match is None:
        raise BadValueError(f"is not a positive whole number, as Capillary's own customerId is{_hint(text)}")
    number = int(match[1])
    if match[2] and number >= _FLOAT_LIMIT:
        raise BadValueError("has passed through a float, which above 2^53 loses digits; write whole numbers")
    return number


def _hint(text: str) -> str:
    """What probably happened to a number. A leading zero hints at another kind of number, such as a card's."""
    if _EXPONENT.fullmatch(text):
        return ": a spreadsheet has rounded it. Write all its digits"
    if _SEPARATED.fullmatch(text):
        return ": write it without separators"
    return ": it begins with a zero, so it may be another number" if text[:1] == "0" and text.isdigit() else ""


def _exact_integer(number: float | Decimal) -> int:
    """Warehouses give whole numbers as decimals, and as floats where a column has gaps."""
    if isinstance(number, float) and math.isfinite(number) and abs(number) >= _FLOAT_LIMIT:
        raise BadValueError("is a float above 2^53, so not read without loss of digits; give a whole number or text")
    if not math.isfinite(number) or number != int(number):
        raise BadValueError("is not a whole number that can be read without loss")
    return int(number)


def instant_of(value: Any, zone: tzinfo | None, per_second: int) -> int:
    """The instant in epoch seconds; see ``epoch_seconds``."""
    return epoch_seconds(_present(value), zone, per_second)
