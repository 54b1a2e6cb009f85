"""Keeps the witness of a ledger in Airflow: one Variable for each organisation."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from airflow_provider_capillary.core.earned_badge import organisation_digest
from airflow_provider_capillary.exceptions import WitnessUnavailableError

if TYPE_CHECKING:
    from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness
    from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

PREFIX = "capillary_ledger_witness_"


def variable_of(organisation: str) -> str:
    """The key of the Variable."""
    return f"{PREFIX}{organisation_digest(organisation)}"


def witness_of(ledger: Ledger, organisation: str) -> LedgerWitness:
    """The witness for a task; compare it before anything is sent. Without Airflow it is kept nowhere, and says so."""
    from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness

    store = TaskVariable(organisation) if _has_supervisor() else None
    return LedgerWitness(store, ledger, organisation)


def witness_by_database(ledger: Ledger, organisation: str) -> LedgerWitness:
    """The witness for a command line. If Airflow's database cannot be used, it is kept nowhere, and says so."""
    from airflow_provider_capillary.jobs.ledger_witness import LedgerWitness

    store = DatabaseVariable(organisation)
    try:
        store.read()
    except WitnessUnavailableError:
        return LedgerWitness(None, ledger, organisation)
    return LedgerWitness(store, ledger, organisation)


class _OneVariable:
    def __init__(self, organisation: str) -> None:
        self._organisation = organisation
        self.key = variable_of(organisation)

    def _unavailable(self, done: str, why: object) -> WitnessUnavailableError:
        return WitnessUnavailableError(
            f"Airflow's witness of the ledger, the Variable {self.key} of organisation {self._organisation!r}, cannot "
            f"be {done}: {why}. See that Airflow answers, and that its Variables may be read and written here"
        )

    @property
    def _description(self) -> str:
        return f"Capillary ledger of {self._organisation}: do not change"


class TaskVariable(_OneVariable):
    """The Variable as a task reads and writes it: through its supervisor and the Execution API."""

    def read(self) -> str | None:
        """Read it from the secrets backends, else the environment, else Airflow's database."""
        try:
            return str(Variable.get(self.key))
        except AirflowRuntimeError as error:
            if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
                raise self._unavailable("read", error) from error
        except Exception as error:
            raise self._unavailable("read", error) from error
        # Airflow says "not found" also if its API did not answer. If there is no witness, any ledger is accepted.
        if not self._is_certainly_absent():
            raise self._unavailable("read", "Airflow's API does not answer")
        return None

    def write(self, text: str) -> None:
        """Write to Airflow's database."""
        try:
            Variable.set(self.key, text, description=self._description)
        except Exception as error:
            raise self._unavailable("written", error) from error

    def _is_certainly_absent(self) -> bool:
        from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        try:
            reply = SUPERVISOR_COMMS.send(GetVariable(key=self.key))
        except AirflowRuntimeError as error:
            reply = error.error
        except Exception as error:
            raise self._unavailable("read", error) from error
        return isinstance(reply, ErrorResponse) and reply.error is ErrorType.VARIABLE_NOT_FOUND


class DatabaseVariable(_OneVariable):
    """The Variable as Airflow's own command line reads and writes it: in the metadata database."""

    def read(self) -> str | None:
        """Read it from the secrets backends, else the environment, else the database."""
        try:
            value: str | None = _model().get(self.key, default_var=None)
        except Exception as error:
            raise self._unavailable("read", error) from error
        return value

    def write(self, text: str) -> None:
        """Write to the database."""
        try:
            _model().set(self.key, text, description=self._description)
        except Exception as error:
            raise self._unavailable("written", error) from error

    def delete(self) -> None:
        """Delete it from the database."""
        try:
            _model().delete(self.key)
        except Exception as error:
            raise self._unavailable("deleted", error) from error


def _model() -> Any:
    """The class of the database table. The SDK's own ``Variable`` works only in a task."""
    return import_module("airflow.models.variable").Variable


def _has_supervisor() -> bool:
    from airflow.sdk.execution_time import task_runner

    return getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
