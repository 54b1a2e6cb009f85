"""Checks the fields of an Airflow Connection and turns them into settings of the client.

Unknown extras are refused, because a misspelt one would be ignored silently. This module does not import Airflow, so it
can be tested without it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from airflow_provider_capillary.client.client_settings import (
    ATTRIBUTION_TYPES,
    AuthType,
    ClientSettings,
    ImportMethod,
    TimestampFormat,
)
from airflow_provider_capillary.client.transport import is_loopback
from airflow_provider_capillary.exceptions import ConfigurationError

log = logging.getLogger(__name__)

LONGEST_TIMEOUT = 3600.0  #: seconds
DEFAULT_PORTS = {"https": 443, "http": 80}
KNOWN_EXTRAS = (
    "allow_http",
    "attribution_entity_code",
    "attribution_entity_type",
    "auth_type",
    "import_method",
    "organisation",
    "password_is_md5",
    "requests_per_minute",
    "timeout",
    "timestamp_format",
    "verify_ssl",
)
MASK = "***"  #: Airflow shows it instead of a stored secret, and a form may send it back
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_Choice = TypeVar("_Choice", bound=StrEnum)

#: The mask is refused, because sending it would be one more failed login of that till.
_MASKED = f"{MASK!r}, which Airflow shows instead of a stored value; enter the value itself again"


class ConnectionFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an Airflow Connection, not checked yet. ``extra`` is JSON text."""

    conn_id: str
    host: str | None = None
    schema: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = None
    extra: str | None = None

    def __repr__(self) -> str:
        return f"ConnectionFields(conn_id={self.conn_id!r}, ...)"


class ConnectionSettings(msgspec.Struct, frozen=True):
    """A checked connection: the client's settings, the organisation's name for the ledger, the budget of requests."""

    client: ClientSettings
    organisation: str
    requests_per_minute: int | None = None


def connection_settings(fields: ConnectionFields) -> ConnectionSettings:
    """Check every field and give the settings.

    :raises ConfigurationError: a field is wrong; the message names the connection and the field.
    """
    try:
        return _settings(fields)
    except _FieldError as problem:
        raise ConfigurationError(f"connection {fields.conn_id!r}: {problem}") from None


class _FieldError(ValueError):
    pass


def _settings(fields: ConnectionFields) -> ConnectionSettings:
    extra = _Extra(fields.extra)
    address = _address(fields, allow_http=extra.get("allow_http", _flag, False))
    auth_type = extra.get("auth_type", _one_of(AuthType), AuthType.BASIC)
    login, password = _credentials(fields, auth_type)
    is_md5 = extra.get("password_is_md5", _flag, False)
    if is_md5 and not _MD5.fullmatch(password):
        raise _FieldError("password_is_md5 is true, but the password is not 32 hexadecimal digits")
    attribution_type, attribution_code = _attribution(extra, auth_type)
    client = ClientSettings(
        base_url=f"{address.scheme}://{address.netloc}{address.path}",
        login=login,
        password=password,
        auth_type=auth_type,
        password_is_md5=is_md5,
        import_method=extra.get("import_method", _one_of(ImportMethod), ImportMethod.PUT),
        timestamp_format=extra.get("timestamp_format", _one_of(TimestampFormat), TimestampFormat.EPOCH_SECONDS),
        timeout=extra.get("timeout", _seconds, 60.0),
        verify_ssl=extra.get("verify_ssl", _verification, True),
        attribution_entity_type=attribution_type,
        attribution_entity_code=attribution_code,
    )
    organisation = extra.get("organisation", _text, f"{address.netloc}{address.path}/{login}")
    return ConnectionSettings(client, organisation, extra.get("requests_per_minute", _count, None))


class _Extra:
    """The extra's keys. A key that is absent, null or empty is not set, because the form saves all three."""

    def __init__(self, text: str | None) -> None:
        try:
            found = json.loads(text) if text and text.strip() else {}
        except ValueError:
            raise _FieldError("extra is not valid JSON") from None
        if not isinstance(found, dict):
            raise _FieldError("extra is not a JSON object")
        unknown = sorted(set(found) - set(KNOWN_EXTRAS))
        if unknown:
            raise _FieldError(f"unknown extra key(s) {', '.join(unknown)}; known: {', '.join(KNOWN_EXTRAS)}")
        self._found: Mapping[str, Any] = found

    def get(self, name: str, read: Callable[[Any], Any], default: Any) -> Any:
        value = self._found.get(name)
        if value is None or value == "":
            return default
        if value == MASK:
            raise _FieldError(f"extra {name!r} is {_MASKED}")
        try:
            return read(value)
        except _FieldError as problem:
            raise _FieldError(f"extra {name!r} {problem}") from None


def _address(fields: ConnectionFields, *, allow_http: bool) -> SplitResult:
    """Give scheme, host with port, and path prefix from the fields host, schema and port."""
    host = (fields.host or "").strip()
    if not host:
        raise _FieldError("host is missing; give the cluster's URL, such as https://eu.api.capillarytech.com")
    split = _split(host if "://" in host else f"{_scheme(fields) or 'https'}://{host}")
    scheme = split.scheme.lower()
    if _scheme(fields) not in (None, scheme):
        raise _FieldError(f"schema {fields.schema!r} contradicts the host's {scheme}://")
    if split.username is not None or split.query or split.fragment:
        raise _FieldError("host must hold no user, query or fragment; credentials go into login and password")
    name = (split.hostname or "").lower()
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise _FieldError("host is not a valid host name")
    if scheme == "http" and not allow_http and not is_loopback(name):
        raise _FieldError("http would send the credentials unencrypted; use https, or set extra 'allow_http' to true")
    port = _port(split, fields.port)
    shown = f"[{name}]" if ":" in name else name
    netloc = shown if port in (None, DEFAULT_PORTS[scheme]) else f"{shown}:{port}"
    return SplitResult(scheme, netloc, split.path.rstrip("/"), "", "")


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
    except ValueError:
        raise _FieldError("host is not a valid URL") from None
    if split.scheme.lower() not in DEFAULT_PORTS:
        raise _FieldError(f"host begins with {split.scheme}://; only https:// and http:// are known")
    return split


def _scheme(fields: ConnectionFields) -> str | None:
    schema = (fields.schema or "").strip().lower()
    if schema and schema not in DEFAULT_PORTS:
        raise _FieldError(f"schema is {fields.schema!r}; give https, or leave it empty")
    return schema or None


def _port(split: SplitResult, port: int | None) -> int | None:
    try:
        written = split.port
    except ValueError:
        raise _FieldError("the port in host is not a number from 1 to 65535") from None
    if written is not None and port is not None and written != port:
        raise _FieldError(f"port {port} contradicts the port {written} in host")
    found = written if written is not None else port
    if found is not None and not 0 < found < 65536:
        raise _FieldError(f"port {found} is not a number from 1 to 65535")
    return found


def _credentials(fields: ConnectionFields, auth_type: AuthType) -> tuple[str, str]:
    names = ("till id", "till password") if auth_type is AuthType.BASIC else ("client key", "client secret")
    for field, value, name in (("login", fields.login, names[0]), ("password", fields.password, names[1])):
        if not value:
            raise _FieldError(f"{field} is missing; with auth_type {auth_type.value} it is the {name}")
        if value == MASK:
            raise _FieldError(f"{field} is {_MASKED}")
    login, password = fields.login or "", fields.password or ""
    if password.endswith(("\n", "\r")):
        log.warning("The password ends in a line end, as secrets from a file often do. It is used without it.")
        password = password.rstrip("\r\n")
    login = login.rstrip("\r\n")
    if not login or not password:
        raise _FieldError("login or password is nothing but a line end")
    if auth_type is AuthType.BASIC and ":" in login:
        raise _FieldError("login holds a colon, which no till id can have")
    return login, password


def _attribution(extra: _Extra, auth_type: AuthType) -> tuple[str | None, str | None]:
    kind = extra.get("attribution_entity_type", _attribution_type, None)
    code = extra.get("attribution_entity_code", _header_text, None)
    if auth_type is AuthType.BASIC and code is not None:
        raise _FieldError("extra 'attribution_entity_code' works with auth_type oauth only")
    if code is None and kind is not None and auth_type is AuthType.OAUTH:
        raise _FieldError("extra 'attribution_entity_type' needs 'attribution_entity_code' beside it")
    return (kind, code) if code is not None else (None, None)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise _FieldError("is neither true nor false")


def _one_of(kind: type[_Choice]) -> Callable[[Any], _Choice]:
    known = {choice.value.lower(): choice for choice in kind}

    def read(value: Any) -> _Choice:
        choice = known.get(str(value).strip().lower())
        if choice is None:
            raise _FieldError(f"is {str(value)[:40]!r}; known: {', '.join(choice.value for choice in kind)}")
        return choice

    return read


def _attribution_type(value: Any) -> str:
    if value in ATTRIBUTION_TYPES:
        return str(value)
    raise _FieldError(f"is {str(value)[:40]!r}; known: {', '.join(ATTRIBUTION_TYPES)}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > 200:
        raise _FieldError("is not a printable text of at most 200 characters")
    return value.strip()


def _header_text(value: Any) -> str:
    text = _text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    if not text.isascii():
        raise _FieldError("holds characters that no HTTP header can carry")
    return text


def _number(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        return float("nan")


def _seconds(value: Any) -> float:
    seconds = _number(value)
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise _FieldError(f"is not a number of seconds above 0 and at most {LONGEST_TIMEOUT:.0f}")
    return seconds


def _count(value: Any) -> int:
    number = _number(value)
    if not 1 <= number <= 1_000_000 or number != int(number):
        raise _FieldError("is not a whole number of at least 1; leave it empty for no limit")
    return int(number)


def _verification(value: Any) -> bool | str:
    try:
        return _flag(value)
    except _FieldError:
        pass
    if isinstance(value, str) and Path(value).exists():
        return value
    raise _FieldError("is neither true nor false nor the path of a CA bundle on this machine")
