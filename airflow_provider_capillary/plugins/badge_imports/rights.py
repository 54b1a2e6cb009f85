"""Decides who may see and do what on the page. Airflow does not guard a plugin's routes, so every route names a right.

Counts and reasons need the right to read the Dag's runs. Values of rows need the right to read its logs. To settle rows
or to run an import again needs the right to change its task instances. To undo an import also needs the rights to
delete the Dag's runs and to change connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.models.dag import DagModel
from fastapi import Depends, HTTPException

#: (method, part of the Dag); a user needs all rights of a list
_COUNTS: tuple[tuple[Any, DagAccessEntity], ...] = (("GET", DagAccessEntity.RUN),)
_ROWS: tuple[tuple[Any, DagAccessEntity], ...] = (*_COUNTS, ("GET", DagAccessEntity.TASK_LOGS))
_CHANGE: tuple[tuple[Any, DagAccessEntity], ...] = (*_COUNTS, ("PUT", DagAccessEntity.TASK_INSTANCE))
_UNDO: tuple[tuple[Any, DagAccessEntity], ...] = (*_CHANGE, ("DELETE", DagAccessEntity.RUN))


def may_read_counts(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may see counts and reasons of the Dag's imports."""
    return _has(user, dag_id, _COUNTS)


def may_read_rows(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may see values of rows."""
    return _has(user, dag_id, _ROWS)


def may_change(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may settle rows, and run an import again."""
    return _has(user, dag_id, _CHANGE)


def may_undo(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may take granted badges back."""
    return _has(user, dag_id, _UNDO) and get_auth_manager().is_authorized_connection(method="PUT", user=user)


def readable(user: BaseUser, dag_ids: Iterable[str]) -> list[str]:
    """Those of the Dags whose imports the user may see."""
    return [dag_id for dag_id in dag_ids if may_read_counts(user, dag_id)]


def needs_login(user: GetUserDep) -> BaseUser:
    """For all who are logged in: a list that holds only what the user may see, or a style sheet."""
    return user


def needs_counts(dag_id: str, user: GetUserDep) -> BaseUser:
    """A route that shows counts of the Dag that its path names."""
    return _refuse_unless(may_read_counts(user, dag_id), user, "see imports of this Dag")


def needs_rows(dag_id: str, user: GetUserDep) -> BaseUser:
    """A route that shows values of rows."""
    return _refuse_unless(may_read_rows(user, dag_id), user, "see the rows of this Dag's imports")


def needs_change(dag_id: str, user: GetUserDep) -> BaseUser:
    """A route that settles rows or runs an import again."""
    return _refuse_unless(may_change(user, dag_id), user, "change task instances of this Dag")


def needs_undo(dag_id: str, user: GetUserDep) -> BaseUser:
    """A route that takes granted badges back."""
    return _refuse_unless(may_undo(user, dag_id), user, "undo imports: it takes the right to change connections too")


#: The rights of routes; a test checks that every route has one of them.
RIGHTS = (needs_login, needs_counts, needs_rows, needs_change, needs_undo)

LoggedIn = Annotated[BaseUser, Depends(needs_login)]
MayReadCounts = Annotated[BaseUser, Depends(needs_counts)]
MayReadRows = Annotated[BaseUser, Depends(needs_rows)]
MayChange = Annotated[BaseUser, Depends(needs_change)]
MayUndo = Annotated[BaseUser, Depends(needs_undo)]
LOGIN = Depends(get_user)


def _has(user: BaseUser, dag_id: str, rights: Iterable[tuple[Any, DagAccessEntity]]) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
        for method, entity in rights
    )


def _refuse_unless(allowed: bool, user: BaseUser, what: str) -> BaseUser:
    if not allowed:
        raise HTTPException(403, f"Your role in Airflow may not {what}. Nothing was changed.")
    return user
