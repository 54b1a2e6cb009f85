"""Finds the entries that explain why a row was not accepted (``core/reason_table.py``) or a task failed (here). Pure.

The ledger keeps the stage, the API's code and the message of an issue, but no name of an entry. The text of an entry
may therefore change, and old jobs are explained by the present text.

The docstring of an error's class says what it means, and whether the server may have acted. Only what to do is here.
"""

from __future__ import annotations

import inspect
from functools import lru_cache

from airflow_provider_capillary import exceptions
from airflow_provider_capillary.core.reason_table import (
    API_CODES,
    API_OTHER,
    ENDS,
    OTHER,
    OTHER_INVALID,
    REASONS,
    Explanation,
)

MOST_ENTRIES = 3  #: of one reason; a row may have several faults

_AGAIN = "Nothing: the task's retries do it. Give the task retries, as the samples have."
_TO_DO: dict[type[exceptions.CapillaryError], tuple[str, str]] = {
    exceptions.ConfigurationError: (
        "a setting is wrong",
        "Correct the connection, argument or option that the message names, then clear the task.",
    ),
    exceptions.UnknownJobError: (
        "no such job",
        "Compare the id with airflow capillary jobs, and see that ledger_conn_id is the import's.",
    ),
    exceptions.UnknownOrganisationError: (
        "a new name for an organisation",
        "If the organisation is the same under another name: airflow capillary organisations rename OLD NEW. If it is "
        "another one: airflow capillary organisations add NAME.",
    ),
    exceptions.DatasetError: (
        "the dataset cannot be read",
        "Correct the file, or the argument that the message names, then clear the task.",
    ),
    exceptions.AuthenticationError: (
        "401: credentials",
        "Correct login, password and auth_type of the connection, try it with airflow capillary test, then clear.",
    ),
    exceptions.RequestRefusedError: (
        "the API refused the request",
        "Do what the message says: rights for badges (403), host or import_method (404, 405). Then clear the task.",
    ),
    exceptions.JobMismatchError: (
        "a retry with other rows or settings",
        "Clear the task: a new job takes the new dataset. For the future, let a retry read the same rows.",
    ),
    exceptions.WrongLedgerError: (
        "not the ledger that Airflow knows",
        "Name the right ledger; or record what was granted with BadgeSeedOperator; or, if you know that nothing is "
        "missing, airflow capillary ledger accept.",
    ),
    exceptions.LedgerUnusableError: (
        "the ledger's database refuses",
        "Give its user the rights that the message names, or bring the tables up to date: airflow capillary ledger "
        "upgrade.",
    ),
    exceptions.ImportStoppedError: (
        "the job stopped itself",
        "Put right what the message names: the job stopped because going on could only do harm. Then clear the task.",
    ),
    exceptions.BudgetExceededError: (
        "too many rows refused or unknown",
        "Everything is sent and recorded. Read the report, correct or settle the rows. Then import errors.csv or clear "
        "the task.",
    ),
    exceptions.ApiUnavailableError: ("the API cannot be used now", _AGAIN),
    exceptions.JobIsRunningError: ("another copy of the job runs", _AGAIN),
    exceptions.ControlMissingError: (
        "no read is believed yet",
        "A retry settles the rows once some of the organisation's rows were accepted. Or settle them yourself: airflow "
        "capillary resolve.",
    ),
    exceptions.LeaseLostError: ("another copy took over", _AGAIN),
    exceptions.LedgerUnavailableError: (
        "the ledger cannot be reached",
        "See that its database runs and can be written. Then the task's retries go on.",
    ),
    exceptions.WitnessUnavailableError: (
        "Airflow's Variable cannot be used",
        "See that tasks can read and write Variables. Then the task's retries go on.",
    ),
    exceptions.ImportInterruptedError: ("asked to stop", _AGAIN),
}


def _explained(kind: type[exceptions.CapillaryError], title: str, to_do: str) -> Explanation:
    return Explanation(kind.__name__, title, " ".join((inspect.getdoc(kind) or "").split()), to_do)


FAILURES = {kind: _explained(kind, *words) for kind, words in _TO_DO.items()}

#: Every entry by its name, in the order in which the documentation shows them.
REGISTRY: dict[str, Explanation] = {
    entry.name: entry
    for entry in (*ENDS, *REASONS, OTHER_INVALID, OTHER, *API_CODES.values(), API_OTHER, *FAILURES.values())
}


@lru_cache(maxsize=4096)
def explain(stage: str, code: int | None, message: str) -> tuple[Explanation, ...]:
    """Give the entries of one reason, the most specific first; at least one.

    The API's code decides, or the message if there is no code. Example of the one exception: a refused read has a code,
    too, but "the API refuses the read" says more.

    :param stage: of the issue: ``validate``, ``badge_check``, ``plan``, ``send`` or ``verify``.
    :param message: as recorded, or with its values masked and its end cut off.
    """
    found = tuple(entry for entry in REASONS if any(sign in message for sign in entry.signs))
    if code is not None and not (found and stage == "verify"):
        return (API_CODES.get(code, API_OTHER),)
    return found[:MOST_ENTRIES] or (OTHER_INVALID if stage == "validate" else OTHER,)


def names(stage: str, code: int | None, message: str) -> str:
    """The names of the entries of one reason: ``customer-id, instant-without-offset``."""
    return ", ".join(entry.name for entry in explain(stage, code, message))
