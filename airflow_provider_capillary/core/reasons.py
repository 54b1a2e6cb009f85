"""Finds the entries of ``core/reason_table.py`` that explain why a row was not accepted. Pure.

The ledger keeps the stage, the API's code and the message of an issue, but no name of an entry. The text of an entry
may therefore change, and old jobs are explained by the present text.
"""

from __future__ import annotations

from functools import lru_cache

from airflow_provider_capillary.core.failure_table import FAILURES
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
