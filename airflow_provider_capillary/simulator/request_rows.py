"""Reads the body of an import as the API's stack does (Spring, Jackson): one bad value refuses the whole call."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from airflow_provider_capillary.simulator.instants import Instant, read_instant, read_iso

#: badgeMetaId, customerId, earn event date, expiry; ``None`` for a field that the row lacks.
SentRow = tuple[str | None, int | None, Instant | None, Instant | None]

#: How a cluster reads instants: numbers as seconds (the default) or milliseconds, with ISO text and ``*ISO`` fields
#: besides; ISO text in the un-suffixed fields only; or ``*ISO`` fields only.
Timestamps = Literal["epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields"]

_SOURCE = "at [Source: (org.springframework.util.StreamUtils$NonClosingInputStream)"
_INTEGER = re.compile(r"\s*[+-]?\d{1,19}\s*")


class UnreadableBodyError(ValueError):
    """The body cannot be read, and nothing was granted. The message is like Jackson's."""


class _WireRow(msgspec.Struct, gc=False):
    """Any JSON object: unknown properties are ignored, and values are judged afterwards."""

    badge: Any = msgspec.field(default=None, name="badgeMetaId")
    customer: Any = msgspec.field(default=None, name="customerId")
    earned: Any = msgspec.field(default=None, name="earnEventDate")
    earned_iso: Any = msgspec.field(default=None, name="earnEventDateISO")
    expires: Any = msgspec.field(default=None, name="earnExpiresOn")
    expires_iso: Any = msgspec.field(default=None, name="earnExpiresOnISO")


_DECODER = msgspec.json.Decoder(list[_WireRow])


def read_rows(body: bytes, timestamps: Timestamps = "epoch_seconds") -> list[SentRow]:
    """All rows of an import, in order. Raises :class:`UnreadableBodyError`.

    :param timestamps: how this cluster reads instants.
    """
    try:
        wire_rows = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise UnreadableBodyError(_jackson("databind.exc.MismatchedInputException", str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableBodyError(_jackson("core.JsonParseException", str(error))) from error
    if timestamps != "epoch_seconds":
        return [_read_row(index, row, timestamps) for index, row in enumerate(wire_rows)]
    return [_read_plain(row) or _read_row(index, row, timestamps) for index, row in enumerate(wire_rows)]


def _read_plain(row: _WireRow) -> SentRow | None:
    # Nearly all rows have this form. To check each value separately takes three times as long.
    customer, earned, expires = row.customer, row.earned, row.expires
    if (
        type(row.badge) is str
        and type(customer) is type(earned) is type(expires) is int
        and 0 <= customer < 2**63
        and 0 <= earned < 2**53
        and 0 <= expires < 2**53
        and row.earned_iso is None
        and row.expires_iso is None
    ):
        return row.badge, customer, (earned, 0), (expires, 0)
    return None


def _read_row(index: int, row: _WireRow, timestamps: Timestamps) -> SentRow:
    name, value = "badgeMetaId", row.badge
    try:
        badge = value if type(value) is str else _read_text(value)
        name, value = "customerId", row.customer
        customer = _read_long(value)
        name, value = "earnEventDateISO", row.earned_iso
        earned = read_iso(value)
        # The *ISO field wins where both are given; the documentation says so of the sibling calls.
        if earned is None or timestamps == "iso_inline":
            name, value = "earnEventDate", row.earned
            earned = _read_date(value, timestamps)
        name, value = "earnExpiresOnISO", row.expires_iso
        expires = read_iso(value)
        if expires is None or timestamps == "iso_inline":
            name, value = "earnExpiresOn", row.expires
            expires = _read_date(value, timestamps)
    except ValueError as error:
        raise UnreadableBodyError(_wrong_value(index, name, value, error)) from error
    return badge, customer, earned, expires


def _read_date(value: Any, timestamps: Timestamps) -> Instant | None:
    """An un-suffixed date, as this cluster reads it."""
    if timestamps == "iso_inline":
        return read_iso(value)
    if timestamps == "iso_fields":
        raise ValueError("the ISO field is mandatory")
    instant = read_instant(value)
    if timestamps == "epoch_milliseconds" and instant is not None and not isinstance(value, str):
        seconds, milliseconds = divmod(instant[0], 1_000)
        return seconds, milliseconds * 1_000_000
    return instant


def _read_long(value: Any) -> int | None:
    """``java.lang.Long``: Jackson also takes digits in a string, and cuts a fraction off."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a valid `java.lang.Long` value")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("out of range of `java.lang.Long`")
    return number


def _read_text(value: Any) -> str | None:
    """``java.lang.String``: Jackson turns numbers and booleans into text."""
    if isinstance(value, (dict, list)):
        raise ValueError("not a valid `java.lang.String` value")
    return None if value is None else msgspec.json.encode(value).decode()


def _wrong_value(index: int, name: str, value: Any, error: ValueError) -> str:
    kind = {"customerId": "java.lang.Long", "badgeMetaId": "java.lang.String"}.get(name, "java.time.Instant")
    shown = msgspec.json.encode(value).decode()[:100]
    said = f"Cannot deserialize value of type `{kind}` from {shown}: {error}"
    chain = f'(through reference chain: java.util.ArrayList[{index}]->ImportCustomerBadge["{name}"])'
    return f"{_jackson('databind.exc.InvalidFormatException', said)} {chain}"


def _jackson(exception: str, said: str) -> str:
    return f"{said}; nested exception is com.fasterxml.jackson.{exception}: {said}\n {_SOURCE}"
