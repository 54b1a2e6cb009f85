"""What the caller may set for one import, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any

import msgspec

from airflow_provider_capillary.core.budget import Budget, parse_budget
from airflow_provider_capillary.core.given_values import is_nothing, one_of, shown
from airflow_provider_capillary.exceptions import ConfigurationError

SMALLEST_BATCH_BYTES = 1_000
LARGEST_BATCH = 10_000
MOST_IN_FLIGHT = 64


class OnUnknown(StrEnum):
    """What to do with rows whose fate is not proven."""

    HOLD = "hold"
    VERIFY = "verify"
    RESEND = "resend"


class OnDuplicate(StrEnum):
    """What to do with a row that was accepted already, or stands twice in the dataset."""

    SKIP = "skip"
    FAIL = "fail"
    ALLOW = "allow"


class TimestampUnit(StrEnum):
    """What numbers of the dataset count since 1970."""

    SECONDS = "s"
    MILLISECONDS = "ms"


class ImportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's parameters, as ``BadgeImportOperator`` explains them. Times in seconds."""

    field_mapping: Mapping[str, str] | None = None
    timezone: str | None = None
    batch_size: int = 500
    max_batch_bytes: int = 1_000_000
    concurrency: int = 4
    on_unknown: OnUnknown = OnUnknown.VERIFY
    on_duplicate: OnDuplicate = OnDuplicate.SKIP
    once_per_customer: bool = False
    verify_after: float = 60
    max_rejected: Budget = parse_budget("max_rejected", "5%")
    max_unknown: Budget = parse_budget("max_unknown", 0)
    canary: bool = True
    check_badges: bool = True
    dry_run: bool = False
    timestamp_unit: TimestampUnit = TimestampUnit.SECONDS

    def fixed_for_a_job(self) -> dict[str, str]:
        """The settings that two tries of one job must share: they decide which rows are which, and what is sent."""
        mapping = sorted((self.field_mapping or {}).items())
        return {
            "field_mapping": msgspec.json.encode(mapping).decode(),
            "timezone": self.timezone or "",
            "on_duplicate": self.on_duplicate.value,
            "once_per_customer": str(self.once_per_customer),
            "timestamp_unit": self.timestamp_unit.value,
        }

    def budgets(self) -> dict[str, str]:
        """How much may be refused or unknown, as it was given: a later report judges the job by it."""
        return {"max_rejected": self.max_rejected.text, "max_unknown": self.max_unknown.text}


#: What an import does where a DAG says nothing; operator, decorator and configuration take their defaults from here.
DEFAULTS = ImportSettings()

#: Without a value these are as not given: what is then done by default grants nothing twice and hides no row.
_MAY_BE_NOTHING = frozenset({"timezone", "batch_size", "on_unknown", "on_duplicate", "timestamp_unit"})
_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, LARGEST_BATCH),
    "max_batch_bytes": (SMALLEST_BATCH_BYTES, 100_000_000),
    "concurrency": (1, MOST_IN_FLIGHT),
    "verify_after": (0, 86_400),
}
_CHOICES: dict[str, type[StrEnum]] = {
    "on_unknown": OnUnknown,
    "on_duplicate": OnDuplicate,
    "timestamp_unit": TimestampUnit,
}
_BUDGETS = ("max_rejected", "max_unknown")
_TYPES = {field.name: field.type for field in msgspec.structs.fields(ImportSettings)}


def import_settings(**values: Any) -> ImportSettings:
    """Check raw values, as they come from templates and DAG files.

    :raises ConfigurationError: says which argument it is, what was given and what is allowed.
    """
    given = {name: value for name, value in values.items() if not (name in _MAY_BE_NOTHING and is_nothing(value))}
    return ImportSettings(**{name: _checked(name, value) for name, value in given.items()})


def _checked(name: str, value: Any) -> Any:
    if name in _BUDGETS:
        return parse_budget(name, value)
    if name == "field_mapping":
        return _field_mapping(value)
    try:
        converted = msgspec.convert(value.strip() if isinstance(value, str) else value, _TYPES[name], strict=False)
    except msgspec.ValidationError:
        raise _refused(name, value) from None
    lowest, highest = _RANGES.get(name, (0, 0))
    if name in _RANGES and not lowest <= converted <= highest:
        raise _refused(name, value)
    return converted


def _refused(name: str, value: Any) -> ConfigurationError:
    if name in _RANGES:
        lowest, highest = _RANGES[name]
        number = "number" if name == "verify_after" else "whole number"
        allowed = f"it may be a {number} from {lowest:,} to {highest:,}"
    elif name in _CHOICES:
        allowed = f"it may be {one_of(_CHOICES[name])}"
    elif name == "timezone":
        allowed = "it may be the IANA name of a time zone, such as 'Europe/Berlin', or None"
    else:
        allowed = "it may be True or False"
    return ConfigurationError(f"{name} is {shown(value)}; {allowed}. Correct this argument, or what its template gives")


def _field_mapping(value: Any) -> Mapping[str, str] | None:
    """A mapping, or its JSON text. Text without a value is refused: other columns would be sent than were meant."""
    if value is None:
        return None
    mapping = value
    if isinstance(value, str):
        with suppress(msgspec.DecodeError):
            mapping = msgspec.json.decode(value)
    if not isinstance(mapping, Mapping) or not all(isinstance(part, str) for pair in mapping.items() for part in pair):
        raise ConfigurationError(
            f"field_mapping is {shown(value)}; it may be a dict of the API's field to the name of a column, such as "
            "{'badgeMetaId': 'badge_id'}, the JSON text of one (in a template: | tojson), or None"
        )
    return dict(mapping)
