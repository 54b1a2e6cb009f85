"""The texts of the reports and of the page. Those about rows and reasons come from ``core/reason_table.py``."""

from __future__ import annotations

from airflow_provider_capillary.core import reason_table, reasons

STATES = reason_table.STATES
DRY_RUN = reason_table.DRY_RUN
NOT_KNOWN = reason_table.NOT_KNOWN
MAY_BE_TWICE = reason_table.MAY_BE_TWICE
SETTLED = reason_table.SETTLED
explain = reasons.explain
names = reasons.names

#: The stage of an issue -> what the import was doing.
STAGES = {
    "validate": "checking the row",
    "plan": "looking it up in the ledger",
    "badge_check": "looking the badge up",
    "send": "sending",
    "verify": "reading back",
}

#: The state of a job in the ledger -> the word for people.
JOBS = {"finished": "succeeded", "failed": "failed", "open": "not ended", "dead": "died"}
NOT_ENDED = "It is running. This report shows what it has recorded so far. Write the report again when it has ended."
DIED = (
    "Its process was killed, or its machine went down, before it could write its summary. The numbers come from the "
    "ledger. Rows in doubt were sent, or about to be sent; errors.csv lists them as they were sent. Rows not sent "
    "are in the dataset only. Run the import again, on the page Badge imports or by clearing its task: it reads "
    "rows in doubt back and sends the rest; what was accepted is not sent again."
)
