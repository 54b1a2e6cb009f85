"""The states of a row, and the one table of allowed changes. Triggers in the ledger's schema repeat the table."""

from __future__ import annotations

from enum import StrEnum


class RowState(StrEnum):
    """Where a row stands. The first six are states in the ledger; the last three are ends without sending."""

    PLANNED = "planned"  #: proven not to be at the API, may be sent
    INTENT = "intent"  #: recorded durably before sending; an intent of a dead process means unknown
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  #: sent, and no proof either way
    REVOKED = "revoked"  #: was accepted, and revoked because a person asked for it; no import grants it again
    INVALID = "invalid"
    ALREADY_ACCEPTED = "already_accepted"
    NOT_SENT = "not_sent"


#: (from, to) -> why it may happen. A row enters the ledger with the intent of its first batch. It becomes an intent
#: again when it moves to another batch. The table also holds for batches, whose state their rows have unless they have
#: one of their own.
TRANSITIONS: dict[tuple[RowState, RowState], str] = {
    (RowState.PLANNED, RowState.INTENT): "the batch is about to be sent",
    (RowState.INTENT, RowState.ACCEPTED): "every proof of the reply holds",
    (RowState.INTENT, RowState.REJECTED): "the API refused the row",
    (RowState.INTENT, RowState.UNKNOWN): "no proof came back, or the attempt died",
    (RowState.INTENT, RowState.PLANNED): "the reply proves that nothing was applied",
    (RowState.UNKNOWN, RowState.ACCEPTED): "verification or a person found the badge",
    (RowState.UNKNOWN, RowState.PLANNED): "verification or a person found no badge, or a person chose to resend",
    (RowState.REJECTED, RowState.INTENT): "a later job sends the row again",
    (RowState.ACCEPTED, RowState.REVOKED): "a person had the badge revoked, and the API says that it is not active",
}
#: The states that a whole batch may have. Only single rows have any other state.
BATCH_STATES = (RowState.INTENT, RowState.ACCEPTED, RowState.PLANNED, RowState.UNKNOWN)
#: States of rows that are proven not to be at the API, and may be claimed for another batch.
FREE = frozenset(old for old, new in TRANSITIONS if new is RowState.INTENT)
#: States of rows that may be at the API, with no proof yet.
UNPROVEN = frozenset({RowState.INTENT, RowState.UNKNOWN})
