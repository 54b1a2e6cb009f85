"""What is known to break, by the name of its mode: the one place. A mode that is not named here must hold.

A mode that is named and holds fails the campaign too, so that the list shrinks as the product is mended.
"""

from __future__ import annotations

import msgspec


class Break(msgspec.Struct, frozen=True):
    """The columns of a mode's account that are not zero, and why."""

    columns: frozenset[str]
    reason: str
    at_times: frozenset[str] = frozenset()  #: columns that are not zero in some runs only, as the machine has it


def _twice(reason: str, *names: str) -> dict[str, Break]:
    return _broken({"twice", "untold"}, reason, *names)


def _broken(columns: set[str], reason: str, *names: str) -> dict[str, Break]:
    return {name: Break(frozenset(columns), reason) for name in names}


_ASSUMED = "breaks by the table of outcomes, which takes this for a proof that nothing was applied; ask Capillary (a)"
_PAUSED = "breaks: nothing can prevent it; the second grant is reported, with both ids"
_WITNESS = "breaks: nothing compares the ledger with the one that Airflow last saw"
_NAMELESS = "breaks: nothing in the reply says whom it is about"

EXPECTED_BREAKS: dict[str, Break] = {
    **_twice(_ASSUMED, "422 with an error envelope, after applying", "429 with an error envelope, after applying"),
    **_broken({"twice"}, _PAUSED, "paused over its lease as the body leaves"),
    **_broken(
        {"twice", "untold", "ids_lost"},
        _WITNESS,
        "ledger copied without -wal",
        "-wal removed as litter",
        "ledger by a hard link",
        "ledger's file mounted alone",
        "ledger's file gone",
        "ledger replaced by an older copy",
        "search_path leads to another schema",
        "standby promoted that lacks the last night",
    ),
    # A process whose file goes away in mid-commit may end without a report.
    "ledger's file removed while the job runs": Break(
        frozenset({"twice", "untold", "ids_lost"}), _WITNESS, at_times=frozenset({"stuck"})
    ),
    **_broken({"twice", "untold", "not_granted"}, _NAMELESS, "reads answered with another customer, who is not named"),
}
