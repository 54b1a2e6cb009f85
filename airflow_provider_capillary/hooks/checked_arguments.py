"""Refuses an operator's wrong arguments while the DAG file is parsed, as far as they are known there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_capillary.core.given_values import is_known
from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.hooks.errors import as_airflow_error


class ChecksArguments(BaseOperator):
    """An operator that fails in the DAG file, and not at night, for an argument that no template can make right.

    A subclass names its arguments in ``checked``, says in ``check`` what is wrong with them, and calls
    ``check_known(vars(self))`` at the end of ``__init__``.
    """

    checked: ClassVar[tuple[str, ...]] = ()  #: arguments that ``check`` looks at

    @classmethod
    def check(cls, known: Mapping[str, Any]) -> None:
        """Check arguments.

        :param known: those of ``checked`` that were given, and hold no template and no other task's output.
        :raises CapillaryError: names the argument and what it may be.
        """
        raise NotImplementedError

    @classmethod
    def check_known(cls, arguments: Mapping[str, Any]) -> None:
        """Check the arguments that are known now.

        :param arguments: some or all of the operator's; those that are not in ``checked`` are not looked at.
        :raises BadgeTaskFailed: names the argument and what it may be.
        """
        given = {name: arguments[name] for name in cls.checked if name in arguments}
        try:
            cls.check({name: value for name, value in given.items() if is_known(value)})
        except CapillaryError as error:
            raise as_airflow_error(error) from error

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map over what ``expand`` gives. Wrong arguments that are known here fail here, not in the first task.

        :raises BadgeTaskFailed: names the argument and what it may be.
        """
        cls.check_known(kwargs)
        return super().partial(**kwargs)
