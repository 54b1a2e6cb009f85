"""What the ends of rows mean and what to do about them, in words for people who do not know this package."""

from __future__ import annotations

import msgspec

from airflow_provider_capillary.core.row_state import RowState


class StateWords(msgspec.Struct, frozen=True):
    """One end of a row. ``to_do`` is empty where there is nothing to do."""

    title: str
    meaning: str
    to_do: str = ""


STATES: dict[RowState, StateWords] = {
    RowState.ACCEPTED: StateWords("accepted", "The API granted the badge, and its reply proves it."),
    RowState.ALREADY_ACCEPTED: StateWords(
        "already accepted",
        "An earlier import granted this badge, or an earlier row of this dataset asks for the same. "
        "It was not sent again. Rows that were revoked count here too; the reason says so.",
    ),
    RowState.REJECTED: StateWords(
        "rejected",
        "No badge was granted: the API refused the row, or the organisation does not have the badge (such rows are not "
        "sent).",
        "Correct the rows in errors.csv and import that file. Where the cause lay elsewhere, for example a badge that "
        "did not exist yet, put that right and clear the import task: rejected rows are then sent again.",
    ),
    RowState.INVALID: StateWords(
        "invalid",
        "The row cannot be sent as it is: a value is missing, or is not what the API takes. It was never sent.",
        "Correct the rows in errors.csv and import that file, or correct them where they come from.",
    ),
    RowState.UNKNOWN: StateWords(
        "unknown",
        "The row was sent, but nothing proves whether the badge was granted.",
        "Do not simply send these rows again: customers could get the badge twice. Let BadgeReconcileOperator read "
        'them back, or clear the import task with on_unknown="verify". Where the reason says that a read is not '
        "believed yet, do so after another import has granted some badges. What stays unknown, a person decides.",
    ),
    RowState.NOT_SENT: StateWords(
        "not sent",
        "The import stopped before the row's turn, or another import had the same badge in hand.",
        "Nothing was granted for these rows. Put right what stopped the import, then retry or clear its task: it "
        "sends these rows. What was accepted is not sent again.",
    ),
}

DRY_RUN = StateWords(
    "would be sent",
    "A dry run checks the rows and sends nothing. These passed the checks.",
)
NOT_TOLD = StateWords(
    "not known yet",
    "Rows of an import that has not ended: they are on their way.",
)
MAY_BE_TWICE = StateWords(
    "may be granted twice",
    "These rows are accepted. They had been sent before without a proof of what became of them, and were sent again, "
    'as on_unknown="resend" asks. Where the first send had reached the API, the customer has the badge twice.',
    "Look these customers up in Capillary, and take back what is too much "
    "(CapillaryBadgeHook.revoke_earned_badge takes back one badge).",
)
SETTLED = StateWords(
    "settled afterwards",
    "The badge was read back from the API and is there, or a person said so.",
)

#: The stage at which a row's story was told -> what was being done.
STAGES = {
    "validate": "checking the row",
    "plan": "looking it up in the ledger",
    "badge_check": "looking the badge up",
    "send": "sending",
    "verify": "reading back",
}

#: The state of a job in the ledger -> what it is called.
JOBS = {"finished": "succeeded", "failed": "failed", "open": "not ended", "dead": "died"}
NOT_ENDED = "It is running. What stands here is what it has recorded so far. Write this report again when it has ended."
DIED = (
    "Its process was killed, or its machine went down, before it could make its account. The numbers are the "
    "ledger's. Rows in doubt were sent, or about to be sent; errors.csv lists them as they were sent. Rows not sent "
    "stand in the dataset only. A retry or a clear of the import task reads doubtful rows back and sends the rest; "
    "what was accepted is not sent again."
)
