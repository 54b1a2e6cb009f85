"""The earned badge: one row as the API will receive it, and its identity across jobs."""

from __future__ import annotations

import hashlib

import msgspec

EARLIEST_INSTANT = 946_684_800  #: 2000-01-01T00:00:00Z in epoch seconds, the first instant accepted
LATEST_INSTANT = 4_102_444_800  #: 2100-01-01T00:00:00Z in epoch seconds, the first instant no longer accepted
LARGEST_CUSTOMER_ID = 2**63 - 1


class EarnedBadge(msgspec.Struct, frozen=True, gc=False):
    """One checked row. Instants are whole epoch seconds, UTC (the API's samples carry no fraction).

    Its identity makes two rows the same badge of the same customer, in any job, whatever the batch or wire format:
    customer, badge, earn instant and occurrence. The ledger adds the organisation, by its ``organisation_key``.
    ``occurrence`` counts equal rows of one dataset from 1. It is above 1 only with ``on_duplicate="allow"``.
    """

    row_number: int  #: position in the dataset, from 1
    badge_meta_id: str  #: 24 lower-case hexadecimal digits
    customer_id: int  #: Capillary's own customer id, 1 .. 2**63-1
    earned_at: int
    expires_at: int
    occurrence: int = 1

    def as_columns(self) -> dict[str, str | int]:
        """The row by the API's names, for the report of a row whose own columns are no longer known."""
        return {
            "badgeMetaId": self.badge_meta_id,
            "customerId": self.customer_id,
            "earnEventDate": self.earned_at,
            "earnExpiresOn": self.expires_at,
        }


#: The row that is longest in every timestamp format: it bounds the bytes of any row in a body.
LARGEST = EarnedBadge(1, "f" * 24, LARGEST_CUSTOMER_ID, LATEST_INSTANT, LATEST_INSTANT)


class RowFault(msgspec.Struct, frozen=True):
    """What is wrong with one value of a row."""

    column: str
    value: str  #: shortened
    reason: str  #: and what to do about it, as a phrase that follows column and value

    def __str__(self) -> str:
        """Write it as a sentence without a full stop."""
        return f"{self.column} {self.value!r} {self.reason}"


class InvalidRow(msgspec.Struct, frozen=True):
    """A row that cannot be sent, with every fault that it has, in the order of the fields."""

    row_number: int
    faults: tuple[RowFault, ...]

    @property
    def message(self) -> str:
        """All faults, for the report."""
        return "; ".join(map(str, self.faults))


def organisation_key(name: str) -> str:
    """Give the form by which names of organisations are compared: without outer blanks, and whatever the case."""
    return name.strip().casefold()


def organisation_digest(name: str) -> str:
    """Give 16 hexadecimal digits for an organisation, for keys that may hold only some characters."""
    return hashlib.sha256(organisation_key(name).encode()).hexdigest()[:16]
