"""What Airflow 3.3 has and 3.2 has not. No other module asks which of them it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryDecision, RetryPolicy

    HAS_RETRY_POLICIES: bool
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy

        HAS_RETRY_POLICIES = True
    except ImportError:  # 3.2: policies can be written, and are not asked
        HAS_RETRY_POLICIES, RetryDecision, RetryPolicy = False, None, object

__all__ = ["HAS_RETRY_POLICIES", "RetryDecision", "RetryPolicy", "StateStore", "retry_arguments", "task_state_store"]


class StateStore(Protocol):
    """What is used of the store in which Airflow keeps JSON for one task over its tries."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value; it replaces the one of that key."""
        ...


def retry_arguments(policy: RetryPolicy | None) -> dict[str, Any]:
    """What ``BaseOperator`` is to be given for a retry policy: nothing on 3.2, which would refuse the argument."""
    return {"retry_policy": policy} if HAS_RETRY_POLICIES else {}


def task_state_store(context: Context) -> StateStore | None:
    """The store of the task that runs; ``None`` on 3.2, and in a plain dict as context."""
    return context.get("task_state_store")
