"""Words of the reports and of the page. Those of rows and reasons come from the registry in ``core``."""

from __future__ import annotations

from airflow_provider_capillary.core import reason_table, reasons

STATES = reason_table.STATES
DRY_RUN = reason_table.DRY_RUN
NOT_KNOWN = reason_table.NOT_KNOWN
MAY_BE_TWICE = reason_table.MAY_BE_TWICE
SETTLED = reason_table.SETTLED
explain = reasons.explain
names = reasons.names

#: The stage at which an issue was recorded -> what was being done.
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
    "stand in the dataset only. Run the import again, on the page Badge imports or by clearing its task: it reads "
    "doubtful rows back and sends the rest; what was accepted is not sent again."
)
