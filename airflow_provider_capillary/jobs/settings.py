"""What the caller may set for one import, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from airflow_provider_capillary.core.budget import Budget, parse_budget
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


def import_settings(**values: Any) -> ImportSettings:
    """Check raw values, as they come from templates and DAG files, and say clearly which one is wrong."""
    budgets = {name: parse_budget(name, values.pop(name)) for name in ("max_rejected", "max_unknown") if name in values}
    try:
        settings = msgspec.convert(values, ImportSettings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"BadgeImportOperator: {error}") from error
    settings = msgspec.structs.replace(settings, **budgets)
    _check_range("batch_size", settings.batch_size, 1, LARGEST_BATCH)
    _check_range("max_batch_bytes", settings.max_batch_bytes, SMALLEST_BATCH_BYTES, 100_000_000)
    _check_range("concurrency", settings.concurrency, 1, MOST_IN_FLIGHT)
    _check_range("verify_after", settings.verify_after, 0, 86_400)
    return settings


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ConfigurationError(f"{name}={value} is out of range; give {lowest} to {highest}")
