"""The base of the operators that work on earlier jobs, and how they and the report find these.

An import is found by what it returned, else in the ledger. A process that was killed, and a task that was marked as
failed, leave no XCom. The ledger holds their jobs by DAG, run, task and map index.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, ImportInterruptedError
from airflow_provider_capillary.hooks.errors import as_airflow_error

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_capillary.jobs.pacing import StopSignal
    from airflow_provider_capillary.ledger.facts import JobRecord
    from airflow_provider_capillary.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_ENDED_BADLY = ("failed", "upstream_failed")
_DID_NOT_RUN = ("skipped", "removed")


class AccountOfJobs(Protocol):
    """The counts of what such an operator did."""

    @property
    def error(self) -> CapillaryError | None:
        """Why it is no success, or ``None``."""
        ...

    def as_dict(self) -> dict[str, object]:
        """The counts as plain values, for XCom."""
        ...


class WorksOnEarlierJobs(BaseOperator):
    """An operator that works on jobs of earlier imports, and returns counts."""

    job: Any
    _stop: StopSignal | None = None
    _import_tasks: tuple[str, ...] = ()  #: that ``job`` refers to; rendering puts values in the place of references

    def execute(self, context: Context) -> dict[str, Any]:
        """Do the work and return the counts. A task that fails pushes them to XCom, too.

        :raises BadgeTaskFailed: an argument is wrong, the API refuses, or more is left undone than is allowed.
        :raises BadgeTaskInterrupted: an import runs, or API or ledger cannot be reached; try again.
        :raises AirflowSkipException: no import began a job.
        """
        # Not imported with the DAG file, because they are slow to load.
        from airflow_provider_capillary.jobs.pacing import StopSignal
        from airflow_provider_capillary.operators.running_task import push_result

        self._stop = StopSignal()
        try:
            account = self._work(context, self._stop)
        except CapillaryError as error:
            raise as_airflow_error(error) from error
        counts = account.as_dict()
        if account.error is None:
            return counts
        push_result(context, counts)
        raise as_airflow_error(account.error) from account.error

    def on_kill(self) -> None:
        """Call the API no more. What it has answered is recorded already."""
        if self._stop is not None:
            from airflow_provider_capillary.jobs.pacing import STOPPED

            self._stop.request(ImportInterruptedError(STOPPED))

    def _jobs(self, context: Context, ledger: Ledger, stop: StopSignal) -> list[str]:
        """The ids of the jobs to work on. If an import was killed and returned nothing, the ledger is asked.

        :raises AirflowSkipException: no import began one.
        """
        imports = imports_of(self, context, ledger, job_ids_of(self.job), self._import_tasks, stop.pause)
        if not imports.job_ids:
            raise AirflowSkipException(
                f"There is no job to work on: the ledger {ledger.description} holds none of an import of this run."
            )
        if imports.found:
            self.log.info("Found in the ledger, because their imports returned nothing: %s", ", ".join(imports.found))
        return list(imports.job_ids)

    def _work(self, context: Context, stop: StopSignal) -> AccountOfJobs:
        """Do the work, and log what was done."""
        raise NotImplementedError


class Imports(msgspec.Struct, frozen=True):
    """The imports that a task is to work on."""

    job_ids: tuple[str, ...]
    found: tuple[str, ...] = ()  #: those of them that returned nothing and were found in the ledger
    without_job: tuple[str, ...] = ()  #: names of tasks that failed, and of which the ledger holds no job
    began_none: tuple[str, ...] = ()  #: names of tasks whose last try began no job, after an earlier one was a success


def task_ids_in(argument: Any) -> tuple[str, ...]:
    """The tasks whose output an argument of an operator refers to, before it is rendered."""
    return tuple(dict.fromkeys(operator.task_id for operator, _ in XComArg.iter_xcom_references(argument)))


def nearest_imports(operator: Any) -> tuple[str, ...]:
    """The import tasks upstream of an operator; of several in a row only the last one."""
    from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = list(operator.upstream_list) if operator.has_dag() else []
    while waiting:
        task = waiting.pop(0)
        if task.task_id in seen:
            continue
        seen.add(task.task_id)
        kind = getattr(task, "operator_class", type(task))
        if isinstance(kind, type) and issubclass(kind, BadgeImportOperator):
            found[task.task_id] = None
        else:
            waiting += task.upstream_list
    return tuple(found)


def imports_of(
    operator: Any,
    context: Context,
    ledger: Ledger,
    given: tuple[Sequence[str], int],
    import_tasks: Sequence[str],
    wait: Callable[[float], object] = time.sleep,
) -> Imports:
    """The jobs that are given, and those that the ledger holds of imports that returned nothing.

    :param given: what ``job_ids_of`` gives for the operator's ``job``.
    :param import_tasks: what ``task_ids_in`` gave for it before it was rendered. If there are none, the nearest
        imports upstream are taken.
    """
    (job_ids, without), ti = given, context.get("ti")
    if getattr(ti, "run_id", None) is None or (not without and not import_tasks):
        imports = Imports(tuple(job_ids), without_job=(f"{without} of the imports",) if without else ())
    else:
        imports = look_up(ledger, ti, import_tasks or nearest_imports(operator), job_ids, without, wait)
    for name in imports.without_job:
        log.warning("%s began no job: ledger %s holds none of it; see its log", name, ledger.description)
    return imports


def look_up(
    ledger: Ledger,
    ti: Any,
    task_ids: Sequence[str],
    given: Sequence[str],
    without: int = 0,
    wait: Callable[[float], object] = time.sleep,
) -> Imports:
    """Add to the jobs that are given those that the ledger holds of a run's import tasks.

    :param ti: the instance of the later task; it names DAG and run.
    :param task_ids: the import tasks. If there are none, every task of the run that the ledger holds.
    :param given: job ids from XCom. An import that returned one is not looked up again.
    :param without: how many imports returned nothing, as far as that is known.
    :param wait: sleeps so many seconds, at most once, until the lease of a process killed on another machine is over.
    """
    dag_id, run_id = ti.dag_id, ti.run_id
    records = [ledger.job(job_id) for job_id in given]
    known = {(job.task_id, job.map_index) for job in records if (job.dag_id, job.run_id) == (dag_id, run_id)}
    states = _states(ti, task_ids)
    found = [job for job in _jobs(ledger, ti, task_ids) if (job.task_id, job.map_index) not in known]
    found = [job for job in found if _may_have_run(job, states)]
    if left := max((job.lease_left for job in found if job.state == "open"), default=0.0):
        log.info("An import without a result holds its lease for %.0f s more; waiting to see whether it is dead", left)
        wait(left + 1)
        found = [ledger.job(job.job_id) for job in found]
    known |= {(job.task_id, job.map_index) for job in found}
    missing = tuple(_name(*key) for key in _failed(task_ids, states) if key not in known)
    if task_ids and states is None:
        missing = tuple(task for task in task_ids if not any(task == key[0] for key in known))
    elif states is None and (given or found) and without > len(found):
        missing = (f"{without - len(found)} of the imports",)
    began_none = tuple(
        _name(job.task_id, job.map_index)
        for job in found
        if job.state == "finished" and (job.task_id, job.map_index) in set(_failed(task_ids, states))
    )
    ids = tuple(dict.fromkeys([*given, *(job.job_id for job in found)]))
    return Imports(ids, tuple(job.job_id for job in found), missing, began_none)


def _jobs(ledger: Ledger, ti: Any, task_ids: Sequence[str]) -> Iterator[JobRecord]:
    for task_id in task_ids or (None,):
        yield from ledger.jobs_of_run(ti.dag_id, ti.run_id, task_id)


def _states(ti: Any, task_ids: Sequence[str]) -> dict[tuple[str, int], str | None] | None:
    """The state of each instance of the tasks, or ``None`` if Airflow cannot be asked."""
    ask = getattr(ti, "get_task_states", None)
    if ask is None or not task_ids:
        return None
    try:
        answer: Mapping[str, Mapping[str, Any]] = ask(dag_id=ti.dag_id, task_ids=list(task_ids), run_ids=[ti.run_id])
    except Exception as error:  # noqa: BLE001 - without an answer the ledger alone is asked
        log.warning("Airflow does not say how the imports ended: %s", type(error).__name__)
        return None
    states: dict[tuple[str, int], str | None] = {}
    for name, state in answer.get(ti.run_id, {}).items():
        key = (name, -1)
        if name not in task_ids:  # of a mapped task: its id, an underscore, and the index
            task, _, index = name.rpartition("_")
            key = (task, int(index))
        states[key] = None if state is None else str(getattr(state, "value", state))
    return states


def _may_have_run(job: JobRecord, states: Mapping[tuple[str, int], str | None] | None) -> bool:
    """Whether the job's task instance still exists. If a mapped task once had more, their jobs are not reported."""
    if states is None:
        return True
    key = (job.task_id, job.map_index)
    return key in states and states[key] not in _DID_NOT_RUN


def _failed(task_ids: Sequence[str], states: Mapping[tuple[str, int], str | None] | None) -> list[tuple[str, int]]:
    return [key for key, state in (states or {}).items() if key[0] in task_ids and state in _ENDED_BADLY]


def _name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def job_ids_of(job: Any) -> tuple[list[str], int]:
    """The job ids in what was given as ``job``, each once and in order, and how many imports have none."""
    if isinstance(job, XComArg):  # not rendered: no task instance gives what the import returned
        return [], 1
    given = [job] if job is None or isinstance(job, (str, Mapping)) else job
    if not isinstance(given, Iterable):
        raise _not_a_job(job)
    ids = [_job_id(one) for one in given]
    return list(dict.fromkeys(one for one in ids if one is not None)), ids.count(None)


def _job_id(job: Any) -> str | None:
    if isinstance(job, Mapping):
        job = job.get("job_id", job)
    # a template without a value renders to the text "None"
    if job is None or (isinstance(job, str) and job.strip() in ("", "None")):
        return None
    if not isinstance(job, str):
        raise _not_a_job(job)
    return job.strip()


def _not_a_job(job: Any) -> ConfigurationError:
    return ConfigurationError(
        f"job is a {type(job).__name__} without a job id. Give what the import returned (job=import_task.output), "
        "a job id, or a list of these"
    )
