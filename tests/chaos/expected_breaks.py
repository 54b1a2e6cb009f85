"""What is known to break, by the name of its mode: the one place. A mode that is not named here must hold.

A mode that is named and holds fails the campaign too, so that the list shrinks as the product is mended.
"""

from __future__ import annotations

import msgspec


class Break(msgspec.Struct, frozen=True):
    """The columns of a mode's account that are not zero, and why."""

    columns: frozenset[str]
    reason: str
    perhaps: frozenset[str] = frozenset()  #: columns that chance decides about


_TWICE = frozenset({"twice", "untold"})


def _twice(reason: str, *names: str) -> dict[str, Break]:
    return {name: Break(_TWICE, reason) for name in names}


def _broken(columns: set[str], reason: str, *names: str, perhaps: tuple[str, ...] = ()) -> dict[str, Break]:
    return {name: Break(frozenset(columns), reason, frozenset(perhaps)) for name in names}


_INTERIM = "breaks: an informational reply is taken for the final one, which then answers the next request"
_REFUSED = "breaks: taken for a proof that nothing was applied"
_ASSUMED = "breaks by the table of outcomes, which takes this for a proof that nothing was applied; ask Capillary"
_DROPPED = "breaks: ids of a reply that proves nothing are dropped"
_AGE = "breaks: the age of an intent is checked before the connection is made, not where the body leaves"
_CLOCK = "breaks: the time since the send is measured by the wall clock alone"
_PAUSED = "breaks: nothing can prevent it, but ids of a reply that comes too late are dropped"
_WITNESS = "breaks: nothing compares the ledger with the one that Airflow last saw"
_CONTROL = "breaks: 'not there' is believed without a control and without counting"
_ABOUT = "breaks: not compared with what was asked for"

EXPECTED_BREAKS: dict[str, Break] = {
    **_broken(
        {"twice", "untold", "not_granted"},
        _INTERIM,
        "102 before a read's reply",
        "103 before a read's reply",
        perhaps=("ids_lost",),
    ),
    **_broken(
        {"not_granted"},
        _INTERIM,
        "102 before an import's reply",
        "103 before an import's reply",
        perhaps=("ids_lost", "twice", "untold"),
    ),
    **_broken(
        {"ids_lost", "unknown"},
        "breaks: an informational reply is taken for the final one",
        "102 and 103 at once before every reply",
    ),
    **_twice(
        _REFUSED,
        "408 with an error envelope, after applying",
        "408 with a gateway's JSON, after applying",
        "409 with an error envelope, after applying",
        "499 with an error envelope, after applying",
        "422 with a gateway's JSON, after applying",
        "303 with no body, after applying",
        "302 with a page, after applying",
        "307 with an error envelope, after applying",
    ),
    **_twice(_ASSUMED, "422 with an error envelope, after applying", "429 with an error envelope, after applying"),
    **_broken(
        {"ids_lost"},
        _DROPPED,
        "array reordered",
        "array reordered, numbered by place",
        "array one entry short",
        "array one entry long",
        "array with one entry twice",
        "array numbered wrongly",
        "one badge echoed wrongly",
        "one customer echoed wrongly",
    ),
    **_twice(
        _AGE,
        "connect of 9 s, killed in flight, applied just before verify_after",
        "connect of 12 s, killed in flight, applied just before verify_after",
        "connect of 12 s and the rest, ledger on PostgreSQL",
    ),
    **_broken({"twice", "untold", "ids_lost"}, _AGE, "paused over its lease before the call"),
    **_broken({"twice", "untold", "ids_lost"}, _PAUSED, "paused over its lease as the body leaves"),
    **_broken({"ids_lost"}, _PAUSED, "paused over its lease before the reply is read"),
    **_twice(_CLOCK, "clock an hour behind at the intent, put right before the retry"),
    **_broken({"stuck", "unknown"}, _CLOCK, "clock an hour ahead at the intent, put right before the retry"),
    **_broken({"stuck"}, _CLOCK, "clock put an hour back while rows wait to be read back"),
    **_broken(
        {"twice", "untold", "ids_lost"},
        _WITNESS,
        "ledger copied without -wal",
        "-wal removed as litter",
        "ledger by a hard link",
        "ledger's file mounted alone",
        "ledger's file gone",
        "ledger's file removed while the job runs",
        "ledger replaced by an older copy",
        "search_path leads to another schema",
        "standby promoted that lacks the last night",
    ),
    **_twice(
        _CONTROL,
        "reads do not show imports; counts only",
        "reads 5:30 h early; earns listed",
        "reads 5:30 h early; counts only",
        "reads 1 s early; earns listed",
        "reads 1 s early; counts only",
        "reads cut to the minute; earns listed",
        "reads cut to the minute; counts only",
        "reads cut to the day; earns listed",
        "reads cut to the day; counts only",
        "reads show the earn sent last, not the latest; counts only",
    ),
    **_broken({"ids_lost"}, "breaks: the id is read under one name only", "reads name the id earnId; earns listed"),
    **_broken(
        {"twice", "untold", "not_granted"},
        _ABOUT,
        "reads answered with another customer, who is not named",
        "reads answered with another customer, who is named",
    ),
    **_twice(_ABOUT, "reads answered with another badge"),
}
