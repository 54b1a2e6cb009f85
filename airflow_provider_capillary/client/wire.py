"""Encodes import requests and decodes replies: the API's JSON. ``wire_reads.py`` has the reads.

No other file knows this JSON. Texts of the server are given as they came; the client, which knows the secrets, masks
them.

Source: the reference page of ``api_gateway/v1/badges/import/customerBadges`` (two versions of it) and the pages of the
badge reads. If versions disagree, each of them is accepted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from airflow_provider_capillary.client.client_settings import TimestampFormat
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.earned_badges import EarnedBadges
from airflow_provider_capillary.core.reply import ApiProblem, Entry, EntryData, Reply, Transmission, described, listed

LONGEST_RETRY_AFTER = 86_400.0  #: seconds; longer waits are cut to this
_SMALL_REPLY = 2**20  #: bytes; a reply of this size takes at most 50 MiB of memory, whatever it holds
PAGE_HEAD = 40_000  #: bytes of a web page that are searched for its title


class _AsWritten(EntryData, gc=False):
    """An echo whose expiry is not decoded yet; see ``_read_expiries``."""

    expires_on: msgspec.Raw = msgspec.Raw(b"null")  # type: ignore[assignment]  # until it is read


class _Answer(Entry, gc=False):
    data: _AsWritten | None = None


_encode = msgspec.json.Encoder().encode
_decode_answers = msgspec.json.Decoder(list[_Answer]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_whole = msgspec.json.Decoder(list[int]).decode
_decode_expiry = msgspec.json.Decoder(float | str | None).decode
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DIGITS = re.compile(r"\d{1,18}(\.\d{1,9})?", re.ASCII)
_ZEROS = re.compile(rb"\d{1,18}(\.0+,)")
_TITLE = re.compile(rb"<title[^>]*>(.{1,2000}?)</title", re.IGNORECASE | re.DOTALL)
_CODE_NAMES = ("code", "errorCode")
_AT_NO_POSITION = ""  # the requestId of an echo that cannot be read; it fits no row, so it proves nothing
_MESSAGE_NAMES = ("message", "errorMessage", "error")


class _Row(msgspec.Struct, rename="camel", gc=False):
    badge_meta_id: str
    customer_id: int
    earn_event_date: int
    earn_expires_on: int


class _IsoRow(msgspec.Struct, rename="camel", gc=False):
    badge_meta_id: str
    customer_id: int
    earn_event_date: datetime  # UTC, which is encoded as yyyy-MM-ddTHH:mm:ssZ
    earn_expires_on: datetime


class _BothRow(msgspec.Struct, rename="camel", gc=False):
    badge_meta_id: str
    customer_id: int
    earn_event_date: int
    earn_event_date_iso: datetime = msgspec.field(name="earnEventDateISO")
    earn_expires_on: int
    earn_expires_on_iso: datetime = msgspec.field(name="earnExpiresOnISO")


_WireRow = _Row | _IsoRow | _BothRow


def _seconds_row(badge: EarnedBadge) -> _WireRow:
    return _Row(badge.badge_meta_id, badge.customer_id, badge.earned_at, badge.expires_at)


def _milliseconds_row(badge: EarnedBadge) -> _WireRow:
    return _Row(badge.badge_meta_id, badge.customer_id, badge.earned_at * 1000, badge.expires_at * 1000)


def _iso_row(badge: EarnedBadge) -> _WireRow:
    return _IsoRow(badge.badge_meta_id, badge.customer_id, _utc(badge.earned_at), _utc(badge.expires_at))


def _both_row(badge: EarnedBadge) -> _WireRow:
    earned, expires = badge.earned_at, badge.expires_at
    return _BothRow(badge.badge_meta_id, badge.customer_id, earned, _utc(earned), expires, _utc(expires))


_ROWS: dict[TimestampFormat, Callable[[EarnedBadge], _WireRow]] = {
    TimestampFormat.EPOCH_SECONDS: _seconds_row,
    TimestampFormat.EPOCH_MILLISECONDS: _milliseconds_row,
    TimestampFormat.ISO_INLINE: _iso_row,
    TimestampFormat.ISO_FIELDS: _both_row,
}


# Cached, because each row is written twice (for its size and in its batch) and expiries repeat.
@functools.lru_cache(maxsize=2**16)
def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def encode_batch(badges: Sequence[EarnedBadge], timestamp_format: TimestampFormat) -> bytes:
    """Give the request body of a batch. The same rows in the same order always give the same bytes."""
    if timestamp_format is TimestampFormat.EPOCH_SECONDS:  # the usual format, from columns without a call a row
        rows = EarnedBadges.of(badges)
        return _encode(list(map(_Row, rows.badge_meta_ids, rows.customer_ids, rows.earned_at, rows.expires_at)))
    return _encode(list(map(_ROWS[timestamp_format], badges)))


def row_size(badge: EarnedBadge, timestamp_format: TimestampFormat) -> int:
    """Give the bytes that one row takes in the body, its separator included.

    It is exact: a body is one byte longer than the sum of its rows (two brackets, one separator less than rows).
    """
    return len(_encode(_ROWS[timestamp_format](badge))) + 1


def has_too_many_values(reply: bytes, sent: int) -> bool:
    """Whether a reply has more JSON values than any answer to a body of ``sent`` bytes.

    Such a reply is not decoded, because each ``{}`` takes three bytes of the reply, but a hundred of memory. The answer
    to a row of 96 bytes has about 15 values. Each value of a list or an object follows a comma or a bracket.
    """
    if len(reply) <= _SMALL_REPLY:  # nearly always; counting would take half as long as decoding
        return False
    return sum(map(reply.count, (b",", b"{", b"["))) > sent // 2 + 10_000


def decode_reply(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Reply:
    """Turn a complete HTTP reply to an import into facts.

    :param headers: a mapping that ignores the case of names.
    :param now: epoch seconds, for a ``Retry-After`` given as a date.
    """
    entries: list[Entry] | None = None
    envelope: list[ApiProblem] | None = None
    problem = ""
    if body.lstrip()[:1] == b"[":
        entries = _entries(body)
    elif (found := _json_object(body)) is not None:
        envelope = _own_problems(found)
        problem = next(map(described, envelope or _problems(found)), "")
    if entries is None and envelope is None:
        problem = undecodable(headers, body)
    return Reply(
        transmission=Transmission.REPLIED,
        status=status,
        entries=entries,
        envelope=envelope,
        retry_after=retry_after(headers, now=now),
        server_request_id=server_request_id(headers),
        problem=problem,
    )


def server_request_id(headers: Mapping[str, str]) -> str | None:
    """Give the id under which the server logged the call. The header has two spellings."""
    return headers.get("X-Cap-Requestid") or headers.get("X-Cap-Request-Id") or None


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Give the seconds to wait, from a number or an HTTP date, at most a day; ``None`` for any other text."""
    text = (headers.get("Retry-After") or "").strip()
    if not text:
        return None
    if _DIGITS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # "-0000" is parsed as naive, and means UTC
    return min(max(moment.timestamp() - now, 0.0), LONGEST_RETRY_AFTER)


class Envelope(msgspec.Struct, frozen=True):
    """The reply to every call except the import.

    ``errors`` holds the elements of its ``errors``; ``problems`` also errors in the forms of gateways and frameworks.
    """

    data: Any
    errors: tuple[ApiProblem, ...]
    problems: tuple[ApiProblem, ...]


def decode_envelope(body: bytes) -> Envelope | None:
    """Give the reply to a read, or ``None`` if the body is no JSON object."""
    found = _json_object(body)
    if found is None:
        return None
    data = found.get("data") if "data" in found else found
    return Envelope(data, tuple(_error_list(found.get("errors"))), tuple(_problems(found)))


def _entries(body: bytes) -> list[Entry] | None:
    try:
        entries: list[Any] = _decode_answers(body)
        _read_expiries([entry.data for entry in entries if entry.data is not None])
        if not any(map(_has_silent_error, [entry for entry in entries if entry.errors])):
            return entries
    except msgspec.ValidationError:
        pass  # an entry has unforeseen types, and what follows it may be broken, too
    except _NO_JSON:
        return None
    found = _json(body)
    return [_tolerant_entry(each) for each in found] if isinstance(found, list) else None


def _read_expiries(echoes: Sequence[_AsWritten]) -> None:
    """Turn the expiries of echoes into numbers; raise the same errors as decoding them with their entries would.

    Nine decimals are more digits than a float holds, so decoding such a number takes as long as all else of its entry.
    Nearly always the decimals are zeros. Then the whole numbers before them are decoded, all entries at once.
    """
    texts: list[Any] = [echo.expires_on for echo in echoes]
    whole = b",".join(texts) + b","
    if zeros := _ZEROS.match(whole):
        whole = whole.replace(zeros[1], b",")
    try:
        numbers: Iterable[Any] = _decode_whole(b"[%s]" % whole[:-1])
    except msgspec.DecodeError:
        numbers = map(_decode_expiry, texts)
    for echo, number in zip(echoes, numbers, strict=True):
        echo.expires_on = number


def _has_silent_error(entry: Entry) -> bool:
    """Whether an error was decoded without code and message, because its fields have other names."""
    return any(each.code is None and each.message is None for each in listed(entry.errors))


def _tolerant_entry(found: Any) -> Entry:
    """Read an entry of unforeseen types part by part, so that one odd entry does not make the array unreadable."""
    if not isinstance(found, dict):
        return Entry(errors=None)
    return Entry(
        data=_tolerant_data(found.get("data")),
        errors=_error_list(found.get("errors")) or None,
        warnings=_error_list(found.get("warnings")) or None,
    )


def _tolerant_data(found: Any) -> EntryData | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        return EntryData(request_id=_AT_NO_POSITION)

    def text(name: str) -> str | None:
        value = found.get(name)
        return value if isinstance(value, str) else None

    customer, expires = found.get("customerId"), found.get("expiresOn")
    data = EntryData(
        badge_meta_id=text("badgeMetaId"),
        customer_id=customer if _is_number(customer, int) or isinstance(customer, str) else None,
        earned_badge_id=text("earnedBadgeId"),
        expires_on=expires if _is_number(expires, (int, float)) or isinstance(expires, str) else None,
        expires_on_iso=text("expiresOnISO"),
        request_id=text("requestId"),
    )
    read = (data.badge_meta_id, data.customer_id, data.earned_badge_id, data.request_id)
    names = ("badgeMetaId", "customerId", "earnedBadgeId", "requestId")
    if any(found.get(name) is not None and value is None for name, value in zip(names, read, strict=True)):
        data.request_id = _AT_NO_POSITION
    return data


def _is_number(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _json_object(body: bytes) -> dict[str, Any] | None:
    found = _json(body)
    return found if isinstance(found, dict) else None


def _json(body: bytes) -> Any:
    try:
        return _decode_any(body)
    except _NO_JSON:
        return None


def _own_problems(found: dict[str, Any]) -> list[ApiProblem]:
    """List the errors of an object in the badge API's own shape: each has a whole ``code``, and there is no data.

    An object with ``error`` or ``status`` comes from a gateway or a framework. It proves nothing, because it may come
    after the API acted.
    """
    if found.get("data") is not None or "error" in found or "status" in found:
        return []
    errors = found.get("errors")
    listed = [each for each in (errors if isinstance(errors, list) else [errors]) if each not in (None, {})]
    is_own = all(isinstance(each, dict) and _is_number(each.get("code"), int) for each in listed)
    return [_problem(each) for each in listed] if is_own else []


def _problems(found: dict[str, Any]) -> list[ApiProblem]:
    """List the errors of an object: the badge API's ``errors``, else those in the forms of gateways and frameworks."""
    if "errors" in found and (listed := _error_list(found["errors"])):
        return listed
    status = found.get("status")
    if isinstance(status, dict):  # the v2 APIs' {"status": {"success": false, "code": ..., "message": ...}}
        return [] if status.get("success") in (True, "true") else [_problem(status)]
    if "code" in found or (isinstance(status, int) and "error" in found):
        # Spring's own error object has a status and no code. It is about the address, not about the call.
        return [_problem(found)]
    return []


def _error_list(found: Any) -> list[ApiProblem]:
    """Read ``errors``, which comes as null, object or array; an empty one holds no error."""
    if not found:
        return []
    listed = found if isinstance(found, list) else [found]
    return [_problem(each) for each in listed if each is not None and each != {}]


def _problem(found: Any) -> ApiProblem:
    if not isinstance(found, dict):
        return ApiProblem(message=str(found))
    code = next((number for name in _CODE_NAMES if (number := _whole(found.get(name))) is not None), None)
    message = next((found[name] for name in _MESSAGE_NAMES if isinstance(found.get(name), str)), None)
    if code is None and message is None:
        message = _encode(found).decode()
    return ApiProblem(code, message)


def _whole(value: Any) -> int | None:
    if _is_number(value, int):
        return int(value)
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) and value.isdigit() else None


def undecodable(headers: Mapping[str, str], body: bytes) -> str:
    """Say what came instead of JSON. Of the body it repeats only an HTML title."""
    if not body.strip():
        return "an empty body instead of JSON"
    kind = (headers.get("Content-Type") or "no content type").partition(";")[0]
    title = _TITLE.search(body[:PAGE_HEAD])
    text = f", titled '{title.group(1).decode('utf-8', 'replace').strip()}'" if title else ""
    return f"{len(body)} bytes of {kind} that are no complete JSON{text}"
