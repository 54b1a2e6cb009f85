"""The client's settings for one Capillary organisation. Credentials never show in a repr."""

from __future__ import annotations

from enum import StrEnum

import msgspec

CONNECT_SECONDS = 10.0
REPLY_SECONDS = 60.0


class AuthType(StrEnum):
    """How a request proves who sends it."""

    BASIC = "basic"
    OAUTH = "oauth"


class ImportMethod(StrEnum):
    """The method of the import; the API documents both. The client never switches: both calls could be applied."""

    PUT = "PUT"
    POST = "POST"


class TimestampFormat(StrEnum):
    """How instants are written into the request."""

    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"
    ISO_INLINE = "iso_inline"
    ISO_FIELDS = "iso_fields"


ATTRIBUTION_TYPES = (
    "TILL",
    "STORE_CODE",
    "STORE_NAME",
    "STORE_EXTERNAL_ID",
    "STORE_EXTERNAL_ID_1",
    "STORE_EXTERNAL_ID_2",
)


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The API's address, the caller, and the form of requests. ``base_url`` has no trailing slash; a path is kept.

    ``login`` and ``password`` are till id and till password with :attr:`AuthType.BASIC`, client key and client secret
    with :attr:`AuthType.OAUTH`. Times are in seconds. ``timeout`` counts from the moment at which the request is
    written until the last byte of the reply.
    """

    base_url: str
    login: str
    password: str
    auth_type: AuthType = AuthType.BASIC
    password_is_md5: bool = False
    import_method: ImportMethod = ImportMethod.PUT
    timestamp_format: TimestampFormat = TimestampFormat.EPOCH_SECONDS
    timeout: float = REPLY_SECONDS
    connect_timeout: float = CONNECT_SECONDS
    verify_ssl: bool | str = True  #: ``False``, or the path of a CA bundle
    attribution_entity_type: str | None = None
    attribution_entity_code: str | None = None

    def __repr__(self) -> str:
        """Name the place and the way, not the caller."""
        return f"ClientSettings(base_url={self.base_url!r}, auth_type={self.auth_type.value!r}, ...)"
