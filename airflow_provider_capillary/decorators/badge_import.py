"""The decorator ``@task.capillary_badge_import``: its task imports the dataset that a function returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, overload

from airflow.sdk.bases.decorator import DecoratedOperator, Task, TaskDecorator, task_decorator_factory
from airflow.sdk.definitions.context import context_merge

from airflow_provider_capillary.exceptions import CapillaryError, DatasetError, JobMismatchError
from airflow_provider_capillary.hooks.errors import BadgeTaskFailed, as_airflow_error
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

if TYPE_CHECKING:
    from typing import ParamSpec, TypeVar

    from airflow.sdk import Context

    from airflow_provider_capillary.operators.airflow_installation import RetryPolicy

    FParams = ParamSpec("FParams")
    FReturn = TypeVar("FReturn")

__all__ = ["badge_import_task"]

_RETURN = (
    "Return a list of dicts (up to 10,000 rows), the URI of a file or a folder, a list of URIs, or what "
    "SqlToBadgeDatasetOperator returned; an empty list if there is nothing to import"
)


class BadgeImportDecoratedOperator(DecoratedOperator, BadgeImportOperator):
    """A ``BadgeImportOperator`` whose ``dataset`` is what a function returns; made by ``@task.capillary_badge_import``.

    :param python_callable: the function.
    :param op_args: (templated) its positional arguments.
    :param op_kwargs: (templated) its keyword arguments.
    """

    # Not the dataset: what the function returns is data. A row that holds {{ ... }} must not be run as a template,
    # and rendered fields are stored and shown, which rows must not be.
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in BadgeImportOperator.template_fields if name != "dataset"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        "field_mapping": "json",
    }
    custom_operator_name = "@task.capillary_badge_import"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse(python_callable, kwargs)
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, dataset=None, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function, import what it returns, and return the summary. A task that fails pushes it to XCom, too.

        :raises BadgeTaskFailed: the function returned no dataset, or as ``BadgeImportOperator.execute`` says.
        """
        context_merge(context, self.op_kwargs)  # map_index_template may use them, as with every decorator
        self.dataset = self.python_callable(*self.op_args, **self.determine_kwargs(context))
        try:
            self._check_returned()
            summary: dict[str, Any] = super().execute(context)
        except CapillaryError as error:
            raise as_airflow_error(error) from error
        except BadgeTaskFailed as error:
            if not isinstance(error.__cause__, JobMismatchError):
                raise
            raise BadgeTaskFailed(f"{error}. {self._same_at_every_try()}") from error.__cause__
        return summary

    def _check_returned(self) -> None:
        name = self.python_callable.__name__
        if self.dataset is None:
            raise DatasetError(f"{name}() returned nothing, so nothing was sent. {_RETURN}")
        if isinstance(self.dataset, Iterator):
            raise DatasetError(
                f"{name}() returned a {type(self.dataset).__name__}, which can be read only once, and rows are read "
                f"more than once. Nothing was sent. {_RETURN}"
            )
        if isinstance(self.dataset, str) and "{{" in self.dataset:
            raise DatasetError(
                f"{name}() returned {self.dataset!r}. What a function returns is not rendered as a template: give the "
                f"template as an argument, as in {name}('{{{{ ds }}}}'), or take the value from the context"
            )

    def _same_at_every_try(self) -> str:
        return (
            f"{self.python_callable.__name__}() is called at each try and must return the same rows in the same order: "
            "choose them by the dates of the DAG run, not by the clock, and give a query an ORDER BY"
        )


@overload
def badge_import_task(python_callable: Callable[FParams, FReturn]) -> Task[FParams, FReturn]: ...


# Names and types for editors. The defaults are those of BadgeImportOperator.
@overload
def badge_import_task(
    *,
    capillary_conn_id: str = ...,
    ledger_conn_id: str | None = ...,
    field_mapping: Mapping[str, str] | None = ...,
    timezone: str | None = ...,
    batch_size: int | str = ...,
    max_batch_bytes: int = ...,
    concurrency: int = ...,
    on_unknown: str = ...,
    on_duplicate: str = ...,
    once_per_customer: bool = ...,
    verify_after: float = ...,
    max_rejected: int | str = ...,
    max_unknown: int | str = ...,
    canary: bool = ...,
    check_badges: bool = ...,
    dry_run: bool | str = ...,
    dataset_format: str | None = ...,
    csv_delimiter: str | None = ...,
    timestamp_unit: str = ...,
    on_empty: str = ...,
    allow_cut_end: bool = ...,
    retry_policy: RetryPolicy | None = ...,
    **kwargs: Any,
) -> TaskDecorator: ...


def badge_import_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Import what the decorated function returns, as ``BadgeImportOperator`` imports its ``dataset``.

    In a DAG file it is ``@task.capillary_badge_import``; imported under this name an editor knows its parameters::

        @task.capillary_badge_import(max_rejected="1%")
        def import_badges(data_interval_start=None):
            return f"s3://lake/badges/{data_interval_start:%Y%m%d}.parquet"

    The function returns a list of dicts (at most 10,000), the URI of a file or folder, a list of URIs, or what
    ``SqlToBadgeDatasetOperator`` returned. The task returns the summary. Unlike a list of dicts that one task hands
    to another, the rows go into no XCom.

    A retry goes on with the same job, and calls the function again. It must then return the same rows in the same
    order, else the task fails without sending anything; a clear begins a new job and accepts any rows. What the
    function returns is data, and never rendered as a template; the function's arguments are rendered.

    :param python_callable: the function, if the decorator is written without parentheses; not async.
    :param kwargs: all parameters of ``BadgeImportOperator`` but ``dataset``, and those of every operator.
    :raises TypeError: ``dataset`` or ``multiple_outputs`` is given, or the function is async.
    :raises BadgeTaskFailed: names the parameter that is wrong and what it may be.
    """
    _refuse(python_callable, kwargs)
    BadgeImportOperator.check_known(kwargs)  # where the function is mapped, no operator is built before the task runs
    # Otherwise a function annotated as returning a dict would have each count of the summary as an XCom of its own.
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,
        decorated_operator_class=BadgeImportDecoratedOperator,
        **kwargs,
    )


def _refuse(python_callable: Callable[..., Any] | None, arguments: Mapping[str, Any]) -> None:
    """Refuse, while the DAG file is read, what would fail later."""
    if "dataset" in arguments:
        raise TypeError("@task.capillary_badge_import takes no dataset: the dataset is what the function returns")
    if arguments.get("multiple_outputs"):
        raise TypeError("@task.capillary_badge_import takes no multiple_outputs: it returns one value, the summary")
    if inspect.iscoroutinefunction(python_callable) or inspect.isasyncgenfunction(python_callable):
        raise TypeError("@task.capillary_badge_import takes no async function: the import runs when it has returned")
