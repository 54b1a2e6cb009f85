"""Names the modes that are known to break. All other modes must hold.

If a named mode holds, the campaign fails too, so that the list shrinks as the product gets better.
"""

from __future__ import annotations

import msgspec


class Break(msgspec.Struct, frozen=True):
    """The columns of a mode's account that are not zero, and why."""

    columns: frozenset[str]
    reason: str
    at_times: frozenset[str] = frozenset()  #: columns that are not zero in some runs only, as the machine has it


def _twice(reason: str, *names: str) -> dict[str, Break]:
    return _broken({"twice", "unreported"}, reason, *names)


def _broken(columns: set[str], reason: str, *names: str) -> dict[str, Break]:
    return {name: Break(frozenset(columns), reason) for name in names}


_ASSUMED = "breaks by the table of outcomes, which takes this for a proof that nothing was applied; ask Capillary (a)"
_PAUSED = "breaks: nothing can prevent it; the second grant is reported, with both ids"
_NAMELESS = "breaks: nothing in the reply says whom it is about"

EXPECTED_BREAKS: dict[str, Break] = {
    **_twice(_ASSUMED, "422 with an error envelope, after applying", "429 with an error envelope, after applying"),
    **_broken({"twice"}, _PAUSED, "paused over its lease as the body leaves"),
    **_broken(
        {"twice", "unreported", "not_granted"}, _NAMELESS, "reads answered with another customer, who is not named"
    ),
}
