"""The one table of everything that can be reported about rows: a stable name, what it means, what to do.

Log, report, the page in Airflow, ``airflow capillary explain`` and the documentation all read it. Names are anchors of
the documentation and never change their meaning. ``core/reasons.py`` finds the entries of a reason.
"""

from __future__ import annotations

import msgspec

from airflow_provider_capillary.core.row_state import RowState


class Explanation(msgspec.Struct, frozen=True):
    """One thing that is reported. ``to_do`` is empty if there is nothing to do."""

    name: str  #: stable; lower-case words with hyphens, or the name of an error's class
    title: str
    meaning: str
    to_do: str = ""
    signs: tuple[str, ...] = ()  #: parts of the messages that mean this
    in_log: str = ""  #: what to do in one line, for the end of a log
    is_passing: bool = False  #: of a code of the API: a row refused with it is sent again within the job


# -- how rows end ----------------------------------------------------------------------------------------------------

STATES: dict[RowState, Explanation] = {
    RowState.ACCEPTED: Explanation("accepted", "accepted", "The API granted the badge, and its reply proves it."),
    RowState.ALREADY_ACCEPTED: Explanation(
        "already-accepted",
        "already accepted",
        "An earlier import granted this badge, or an earlier row of this dataset is the same. It was not sent again. "
        "Revoked rows count here too; the reason says so.",
    ),
    RowState.REJECTED: Explanation(
        "rejected",
        "rejected",
        "No badge was granted: the API refused the row, or the organisation does not have the badge (such rows are not "
        "sent).",
        "Correct the rows in errors.csv and import that file (the sample DAG import_badge_file asks for it). If the "
        "cause was elsewhere, such as a badge that did not exist yet, put that right and run the import again, on the "
        "page Badge imports or by clearing its task: rejected rows are then sent again.",
        in_log="correct the rows in errors.csv and import that file (sample DAG import_badge_file); or clear the task.",
    ),
    RowState.INVALID: Explanation(
        "invalid",
        "invalid",
        "The row cannot be sent as it is: a value is missing, or is not what the API takes. It was never sent.",
        "Correct the rows in errors.csv and import that file (the sample DAG import_badge_file asks for it), or "
        "correct them where they come from.",
        in_log="correct the rows in errors.csv and import that file (sample DAG import_badge_file); or clear the task.",
    ),
    RowState.UNKNOWN: Explanation(
        "unknown",
        "unknown",
        "The row was sent, but nothing proves whether the badge was granted.",
        "Do not send these rows again in a file: customers could get the badge twice. Choose Settle unknown rows on "
        "the page Badge imports, or trigger the DAG review_unknown_badges with the job's id: it reads them back, and "
        "asks a person about those that stay unknown. If the reason says that a read is not believed yet, do so after "
        "another import has granted some badges.",
        in_log="Settle unknown rows in the tab Badge import, or DAG review_unknown_badges: they may be granted.",
    ),
    RowState.NOT_SENT: Explanation(
        "not-sent",
        "not sent",
        "The import stopped before the row's turn, or another import was sending the same badge.",
        "Nothing was granted for these rows. Put right what stopped the import, then run it again, on the page Badge "
        "imports or by clearing its task: it sends these rows. What was accepted is not sent again.",
        in_log="retry or clear the task to send the rows that were not sent.",
    ),
}
DRY_RUN = Explanation("would-be-sent", "would be sent", "A dry run checks the rows and sends nothing. These passed.")
NOT_KNOWN = Explanation("not-known", "not known yet", "The import has not ended, and has no outcome of these rows yet.")
MAY_BE_TWICE = Explanation(
    "may-be-granted-twice",
    "may be granted twice",
    "These rows are accepted. They had been sent before, and nothing proved their outcome. They were sent again, "
    'because on_unknown="resend" or a person asked for it. If the API had applied the first send, the customer has '
    "the badge twice.",
    "Look these customers up in Capillary (may_be_granted_twice.csv lists them), and revoke what is too much there, or "
    "with CapillaryBadgeHook.revoke_earned_badge.",
    signs=("may be granted twice",),
)
SETTLED = Explanation(
    "settled-afterwards",
    "settled afterwards",
    "After the import had ended, a read or a person showed that the badge is there.",
)
ENDS = (*STATES.values(), DRY_RUN, NOT_KNOWN, MAY_BE_TWICE, SETTLED)

# -- rows that cannot be sent ----------------------------------------------------------------------------------------

_IN_FILE = "Correct the value in errors.csv and import that file, or correct it where it comes from."
INVALID_VALUES = (
    Explanation(
        "value-missing", "a value is missing", "The field has no value, or blanks only.", _IN_FILE, ("is missing",)
    ),
    Explanation(
        "value-not-a-number",
        "not a number",
        "The value is NaN or infinite: a division by zero, or a gap in a float column.",
        _IN_FILE,
        ("is NaN", "is not a finite number"),
    ),
    Explanation(
        "value-text",
        "text that cannot be a value",
        "The text is longer than 64 characters, or holds control characters such as line ends, or unusual blanks.",
        "Check whether the file was read with the wrong delimiter, or quotes are missing. " + _IN_FILE,
        ("is over-long", "holds control characters", "holds a blank of another kind"),
    ),
    Explanation(
        "value-type",
        "a value of the wrong type",
        "The field does not take values of this type: a list, a boolean, a date as an id.",
        "Cast the column in the query, or name another column in field_mapping.",
        ("is of type", "is a boolean"),
    ),
    Explanation(
        "badge-id",
        "not a badgeMetaId",
        "A badgeMetaId has 24 hexadecimal digits, such as 654e08f2041fd452b3ef5b2e. A badge's name, or a number of "
        "your own, is not one.",
        "Take the id from Capillary's list of badges (CapillaryBadgeHook.list_badges lists ids and names).",
        ("is not 24 hexadecimal",),
    ),
    Explanation(
        "customer-id-rounded",
        "a customer id that was rounded",
        "A spreadsheet or a float column has cut the number's digits, so it could be another customer's.",
        "Export the column as text or as a whole number. In a spreadsheet, format it as text before opening the file.",
        ("a spreadsheet has rounded it", "through a float", "is a float", "without loss"),
    ),
    Explanation(
        "customer-id",
        "not a customer id",
        "A customerId is Capillary's own number of the customer: a positive whole number. It is not a mobile number, "
        "an e-mail address or an external id, and has no separators and no leading zero.",
        "Look the customers up first: in the warehouse export of users, or with CapillaryBadgeHook.lookup_customer.",
        ("is not a positive",),
    ),
    Explanation(
        "instant-without-offset",
        "a time without a zone",
        "The timestamp has no offset, so it could be any of 24 instants and more.",
        "Set timezone= on the operator to the IANA name of the zone in which the times are written, or add an offset.",
        ("has no offset",),
    ),
    Explanation(
        "instant-unit",
        "a number in another unit",
        "The number looks like an instant in milliseconds, microseconds or nanoseconds; or in seconds, although "
        "timestamp_unit says milliseconds.",
        "Set timestamp_unit on the operator to 's' or 'ms', or give ISO 8601 text.",
        ("looks like epoch",),
    ),
    Explanation(
        "instant-range",
        "an instant out of range",
        "Instants before the year 2000 and from 2100 on are refused, because nearly all of them have a wrong unit or "
        "form.",
        "Correct the value. For a badge that never expires give 2099-12-31T23:59:59Z.",
        ("outside 2000-01-01", "outside the years"),
    ),
    Explanation(
        "instant-skipped",
        "a time that does not exist",
        "Clocks went forward on that day and skipped this local time.",
        "Give the instant with an offset, or correct the time.",
        ("does not exist in",),
    ),
    Explanation(
        "instants-differ",
        "two instants that differ",
        "The row gives one field twice, as epoch and as ISO text, and the two are not the same second.",
        "Correct one, or name the column to use in field_mapping. The other one is then not read.",
        ("are two instants",),
    ),
    Explanation(
        "expiry-not-after-earning",
        "an expiry that is not after the earning",
        "The badge would expire before it is earned, or at the same instant.",
        "Check whether the two columns are exchanged, or the expiry is a date and the earning is later that day.",
        ("expires not after it was earned",),
    ),
    Explanation(
        "instant-unreadable",
        "not a timestamp",
        "The value is neither epoch seconds nor ISO 8601 text, or names a zone that is not an IANA name.",
        "Give ISO 8601 with an offset, such as 2025-01-31T09:00:00+01:00.",
        ("as a timestamp", "names the zone", "and the zone", "time zone that cannot"),
    ),
    Explanation("row-invalid", "a value that cannot be used", "The message names the column and the reason.", _IN_FILE),
)

# -- rows that the ledger ends ---------------------------------------------------------------------------------------

PLANNED = (
    Explanation(
        "repeated-row",
        "the same row again",
        "An earlier row of this dataset has the same badge, customer and earn instant. It ends as that row does.",
        'Nothing, if both mean one badge. If two badges are meant, import with on_duplicate="allow".',
        ("the same row stands earlier",),
    ),
    Explanation(
        "rejected-before",
        "rejected by an earlier try",
        "A retry goes on with its job, and a job does not send again what the API refused.",
        "Clear the task, or use another run id: a new job sends rejected rows again.",
        ("rejected by an earlier try",),
    ),
    Explanation(
        "revoked",
        "revoked, not sent",
        "The badge was granted, and then revoked on purpose. An import does not grant it again.",
        "Nothing. To grant it again, revoke the job once more with import_again=True, then import the rows.",
        ("revoked, not sent", "accepted, and revoked since"),
    ),
    Explanation(
        "in-another-job",
        "another job has the row",
        "Another job is sending this badge to this customer, or has left it unknown. Two jobs could grant it twice.",
        "Retry when that job has ended. Settle its unknown rows first (airflow capillary jobs lists the jobs).",
        (
            "another job has this badge",
            "another job had taken",
            "another job in the meantime",
            "a running import has just sent",
        ),
    ),
    Explanation(
        "as-an-equal-row",
        "ends as an equal row does",
        "The row repeats one that was unknown. That one is settled now, and this one ends in the same way.",
        "Nothing for accepted rows. The next import sends those that were not granted.",
        ("the same badge was", "the same badge is not granted"),
    ),
)

# -- rows without proof ----------------------------------------------------------------------------------------------

_SETTLE = "Run the sample review_unknown_badges with the job, or BadgeReconcileOperator: both read the rows back."
READ_BACK = (
    Explanation(
        "found-by-reading-back",
        "found by reading back",
        "No reply proved the grant. A read of the customer's badge shows it at the instant that was sent.",
        "Nothing.",
        ("found by reading back",),
    ),
    Explanation(
        "proven-absent",
        "proven not to be there",
        "A read proves that the badge was not granted.",
        "Import the rows again, or clear the task: the next import sends them.",
        ("reading back proved that the badge is not there",),
    ),
    Explanation(
        "too-many-earns",
        "more earns than the ledger knows",
        "The read does not show this row, but the API counts an earn that the ledger lacks. It may be this row.",
        "Look the customer up in Capillary. Then airflow capillary resolve JOB_ID --as accepted, or --as resend. If "
        "another tool granted the earn, record it with BadgeSeedOperator; a read can then settle the row.",
        ("counts more earns",),
    ),
    Explanation(
        "no-control-yet",
        "no read is believed yet",
        "A read that does not show a badge is believed only after another read has shown one that is known to be "
        "there. In a first import there may be none.",
        "Retry the task after some rows of the organisation were accepted, or settle the rows: airflow capillary "
        "resolve JOB_ID.",
        ("is not believed before another badge", "wait for a control"),
    ),
    Explanation(
        "reads-do-not-show-imports",
        "reads do not show imports",
        "A badge that is known to be granted was read and is not shown, so no read can prove that a row is absent.",
        'Ask Capillary whether reads show imported badges. Until then import with on_unknown="hold", and run '
        "airflow capillary probe again.",
        ("reads do not show imports here",),
    ),
    Explanation(
        "read-refused",
        "the API refuses the read",
        "The API does not answer reads of this badge of this customer. The customer may be merged into another one.",
        "Look the customer up in Capillary, then airflow capillary resolve JOB_ID --as accepted, or --as resend.",
        ("refuses to read this badge",),
    ),
    Explanation(
        "read-proves-neither",
        "the read proves neither",
        "A later earn of the same badge hides this one, or another row stands at the same instant.",
        "Look the customer up in Capillary, then airflow capillary resolve JOB_ID --as accepted, or --as resend.",
        ("the read proves neither",),
    ),
    Explanation(
        "sent-too-often",
        "sent several times without proof",
        'With on_unknown="resend" the row was sent until no try was left, and no reply proved anything.',
        _SETTLE,
        ("times without proof",),
    ),
    Explanation(
        "by-a-persons-word",
        "decided by a person",
        "A person said that the row was granted, or that it was not. The ledger keeps who and when.",
        "Nothing.",
        ("by the word of",),
    ),
)
SENT = (
    Explanation(
        "cut-off",
        "an earlier try was cut off",
        "The process or its machine died after it had recorded that it would send the row, and before it recorded the "
        "outcome.",
        f"A retry reads the rows back. {_SETTLE}",
        ("was cut off before the outcome",),
    ),
    Explanation(
        "reply-does-not-prove",
        "the reply does not prove the row",
        "The API answered with success, but the reply does not show this row with its badge, customer, position and "
        "expiry. Entries are missing, in another order, or about other rows. The ids in the reply are kept.",
        f"{_SETTLE} Ask Capillary why the array of the reply does not fit the request.",
        (
            "entries for",
            "of the reply is not about row",
            "the entry holds",
            "does not echo the expiry",
            "the echoed expiry",
            "but the reply gives",
            "HTTP 2",
            "is larger than",
            "cannot be decompressed",
        ),
    ),
    Explanation(
        "server-error",
        "the server failed",
        "A reply such as 500, 502, 503 or 504 does not say whether the request was applied.",
        f"{_SETTLE} If it happens often, make batch_size smaller and ask Capillary.",
        ("HTTP 5",),
    ),
    Explanation(
        "redirected",
        "the address answers with a redirect",
        "A redirect is never followed, because the request could be applied twice. The job stops.",
        "Correct host or path of the connection, or the proxy's sign-in. Then settle the rows.",
        ("HTTP 3", "answers with a redirect"),
    ),
    Explanation(
        "status-does-not-prove",
        "a status that proves nothing",
        "408, 409, 499, and a 4xx that is not in the API's own form, do not say whether the request was applied. Most "
        "of them come from a proxy or gateway.",
        _SETTLE,
        ("HTTP 4",),
    ),
    Explanation(
        "no-reply",
        "no complete reply",
        "The request left, and the connection ended, timed out or broke before the reply was complete.",
        f"{_SETTLE} If it happens often, make batch_size smaller, or the connection's timeout longer.",
        (
            "no complete reply",
            "timed out",
            "without a reply",
            "reset the connection",
            "the reply broke off",
            "no valid HTTP",
            "the connection broke",
            "network error",
            "TLS failed",
            "the proxy failed",
            "no connection",
            "connection was refused",
            "cannot be resolved",
            "is not trusted",
        ),
    ),
)
UNSENT = (
    Explanation(
        "job-stopped",
        "the job stopped before",
        "The import stopped before this row was sent. The text after the colon says why.",
        "Put that right, then retry or clear the task.",
        ("the job stopped:",),
    ),
    Explanation(
        "refused-without-reason",
        "refused without a message",
        "The API refused the row and gave neither code nor message.",
        "Ask Capillary, with the request id of errors.csv.",
        ("refused without a message",),
    ),
    Explanation(
        "revocation-unconfirmed",
        "the API does not confirm",
        "The API accepted the request to revoke, but does not say that the badge is no longer active.",
        "Run the undo again. A second request does no harm.",
        ("does not say that the badge is not active",),
    ),
)
REASONS = (*READ_BACK, *INVALID_VALUES[:-1], *PLANNED, *UNSENT, MAY_BE_TWICE, *SENT)
OTHER_INVALID = INVALID_VALUES[-1]
OTHER = Explanation("other", "another reason", "Nothing is known besides the message.", "See errors.csv for the rows.")

# -- what the API answers --------------------------------------------------------------------------------------------

#: By the API's code: those that its documentation names for badges. Most of them belong to calls other than the import.
#: What a code proves about a whole request stands in ``core/outcome.py``.
API_CODES: dict[int, Explanation] = {
    1054: Explanation(
        "api-1054",
        "1054: no such badge",
        "The organisation has no badge of this badgeMetaId. It was looked up before sending (stage badge_check), or "
        "the API said so.",
        "Check that connection and badge belong to one organisation, and that the badge exists. Then clear the task.",
    ),
    521: Explanation(
        "api-521",
        "521: several actions for one customer",
        "The API was changing the same customer already. The row was sent again, and refused again.",
        "Clear the task later. Check whether another tool changes the same customers at the same time.",
        is_passing=True,
    ),
    400: Explanation(
        "api-400",
        "400: not readable",
        "The API could not read the request. The batch was divided until the bad row was found.",
        "Compare the row with its neighbours. If every row is refused, check the connection's timestamp_format.",
    ),
    809: Explanation(
        "api-809",
        "809: request id used before",
        "The API says that a request with this id was applied already, so the rows count as unknown until they are "
        "read back.",
        _SETTLE,
    ),
    1060: Explanation(
        "api-1060",
        "1060: too many rows",
        "The request was too large even with one row.",
        "Ask Capillary for the limit.",
    ),
    750: Explanation(
        "api-750",
        "750: earned in the future",
        "The earn date is later than the API's clock allows.",
        "Correct the earn date. Check timezone and timestamp_unit.",
    ),
    810: Explanation(
        "api-810", "810: badge not claimed", "The badge must be claimed first.", "Claim the badge, then clear the task."
    ),
    811: Explanation(
        "api-811",
        "811: badge not issued",
        "The badge must be issued to the customer before it can be earned.",
        "Ask Capillary whether that is so for imports of this badge.",
    ),
    814: Explanation(
        "api-814",
        "814: nothing to revoke",
        "The badge is not active: it has expired, or was revoked before.",
        "Nothing.",
    ),
    815: Explanation("api-815", "815: badge not live", "The badge is not live.", "Set it live, then clear the task."),
    816: Explanation(
        "api-816",
        "816: outside the badge's dates",
        "The earn date is not within the dates of the badge.",
        "Correct the earn date, or the badge's dates.",
    ),
    1026: Explanation(
        "api-1026",
        "1026: no such customer",
        "The organisation has no customer of this customerId, or the customer was merged into another one.",
        "Look the customer up (CapillaryBadgeHook.lookup_customer), and correct the id.",
    ),
}
API_OTHER = Explanation(
    "api-other",
    "another code of the API",
    "The API refused the row with a code that this provider does not know. The message is the API's own.",
    "Look the code up in Capillary's documentation, or ask Capillary with the request id of errors.csv.",
)
