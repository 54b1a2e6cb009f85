"""What to do if a task fails: an entry for each error of ``exceptions.py``. Read through ``core/reasons.py``.

The docstring of an error's class says what it means, and whether the server may have acted.
"""

from __future__ import annotations

import inspect

from airflow_provider_capillary import exceptions
from airflow_provider_capillary.core.reason_table import Explanation

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
