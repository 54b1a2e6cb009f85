"""``extract.output["parts"]``: one value of what the extract returned, as something that ``expand`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks.errors import as_airflow_error

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

VALUES = ("uri", "parts", "rows", "columns")


class ExtractedValueOperator(BaseOperator):
    """Returns one value of what an extract returned; ``extract.output["parts"]`` adds it to the DAG.

    :param extracted: what ``SqlToBadgeDatasetOperator`` returned (templated)
    :param value: which of its values
    """

    template_fields: Sequence[str] = ("extracted",)
    ui_color = "#e8f1e4"

    def __init__(self, *, extracted: Any, value: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extracted = extracted
        self.value = value

    def execute(self, context: Context) -> Any:
        """Return the value.

        :raises BadgeTaskFailed: what was given is not what an extract returns
        """
        if not isinstance(self.extracted, Mapping) or self.value not in self.extracted:
            wrong = ConfigurationError(
                f"{self.task_id} was given no {self.value!r}: the extract returned something else"
            )
            raise as_airflow_error(wrong)
        return self.extracted[self.value]


class ExtractOutput(PlainXComArg):
    """The output of an extract; ``["parts"]`` and the like are the outputs of a small task beside it.

    To Airflow ``output["parts"]`` is another XCom, pushed under that key, and no such XCom can be mapped over: the
    scheduler knows the length of return values only. A task that returns the list is what it can count.
    """

    def __getitem__(self, item: str) -> XComArg:
        """Give the value's task, added to the extract's DAG the first time that it is asked for."""
        if item not in VALUES:
            return super().__getitem__(item)
        extract: Any = self.operator
        known = extract.dag.task_dict.get(f"{extract.task_id}_{item}") if extract.has_dag() else None
        if isinstance(known, ExtractedValueOperator):
            return known.output
        place = {"dag": extract.dag, "task_group": extract.task_group} if extract.has_dag() else {}
        task = ExtractedValueOperator(
            task_id=f"{extract.label}_{item}", extracted=PlainXComArg(extract), value=item, **place
        )
        return task.output
