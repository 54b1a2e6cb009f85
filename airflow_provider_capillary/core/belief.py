"""When a read that does not show a badge is believed. Pure.

A row is sent again only after a read has said "not there". That is true only if this API's reads show what was
imported, and show it at the instant that was sent: both are seen to hold before they are relied on.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_provider_capillary.core.verification import CustomerBadgeView, Finding, Verified


class Control(StrEnum):
    """What the reads of badges that are known to be there have shown so far."""

    NONE_YET = "no badge that is known to be there was read"
    SHOWN = "a badge that is known to be there was shown, at the instant that was sent"
    NOT_SHOWN = "a badge that is known to be there was not shown: reads do not show imports here"


def believe(verified: Verified, view: CustomerBadgeView, *, accepted: int, control: Control) -> Verified:
    """Believe "not there" only where the count and a control allow it; any other finding stays as it is.

    Example: the API cuts instants to the minute, and our row of 10:00:30 was applied. The read shows one earn at
    10:00:00, which looks like an earlier one, so ``settle`` finds our row absent. But the ledger holds no accepted
    row, and the API counts one earn: that one may be ours.

    :param accepted: rows that the ledger holds as accepted for this customer and badge, revoked and seeded ones
        included. Count them before the read: a row that is accepted after the read was not in the API's count.
    :param control: what this process has seen of badges that are known to be there.
    """
    if verified.finding is not Finding.ABSENT:
        return verified
    if view.earn_count > accepted or control is not Control.SHOWN:
        return Verified(Finding.UNDECIDED)
    return verified
