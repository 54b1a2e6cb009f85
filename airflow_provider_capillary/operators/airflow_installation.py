"""Reads the configuration of the Airflow that runs this package, and hides what 3.2 lacks and 3.3 has.

No other module asks for Airflow's version.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryDecision, RetryPolicy

    HAS_RETRY_POLICIES: bool
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy

        HAS_RETRY_POLICIES = True
    except ImportError:  # 3.2: policies can be written, and are not asked
        HAS_RETRY_POLICIES, RetryDecision, RetryPolicy = False, None, object

__all__ = [
    "HAS_RETRY_POLICIES",
    "SECTION",
    "RetryDecision",
    "RetryPolicy",
    "StateStore",
    "airflow_home",
    "configured_executors",
    "option",
    "retry_arguments",
    "task_state_store",
]

SECTION = "capillary"


class StateStore(Protocol):
    """The part used here of Airflow's store, which keeps JSON values for one task over its tries."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value under a key, in place of the one that was there."""
        ...


def retry_arguments(policy: RetryPolicy | None) -> dict[str, Any]:
    """The arguments of ``BaseOperator`` for a retry policy: none on 3.2, which would refuse this one."""
    return {"retry_policy": policy} if HAS_RETRY_POLICIES else {}


def task_state_store(context: Context) -> StateStore | None:
    """The store of the task that runs; ``None`` on 3.2, and in a plain dict as context."""
    return context.get("task_state_store")


def option(name: str) -> str | None:
    """An option of the ``[capillary]`` section; ``None`` if it is not set or empty."""
    return conf.get(SECTION, name, fallback=None) or None


def configured_executors() -> str:
    """The text of ``[core] executor``."""
    return str(conf.get("core", "executor", fallback="LocalExecutor"))


def airflow_home() -> Path:
    """The folder AIRFLOW_HOME, absolute."""
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser().absolute()
