"""Three lists, and what may not differ between them: rows read, the ledger, and what the simulator granted."""

from __future__ import annotations

import json
import struct
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.core.summary import FINAL_STATES
from airflow_provider_capillary.ledger.engine import make_engine
from airflow_provider_capillary.simulator.badge_store import Grant

from .dataset import Row

_SETTLED = (RowState.ACCEPTED, RowState.REJECTED, RowState.UNKNOWN)
_ROWS = sa.text("""
    SELECT r.customer_id, r.badge_meta_id, r.earned_at, r.state, r.request_id, r.sent_at, r.badge_id, r.occurrence,
        r.batch_id, r.job_id, x.row_number, x.earned_badge_id, x.state IS NOT NULL AS is_odd
    FROM capillary_row r LEFT JOIN capillary_odd_row x ON x.customer_id = r.customer_id AND x.badge_id = r.badge_id
        AND x.earned_at = r.earned_at AND x.occurrence = r.occurrence
""")
_PACKED = sa.text("SELECT id, row_count, rows, ids FROM capillary_batch")
_DOUBTS = sa.text("""
    SELECT job_id, row_number FROM capillary_row_issue
    WHERE state = 'accepted' AND message LIKE '%may be granted twice%'
""")
_REPORTED_UNSENT = sa.text("""
    SELECT DISTINCT row_number FROM capillary_row_issue WHERE stage = 'badge_check'
    OR state = 'not_sent' AND job_id = (SELECT id FROM capillary_job ORDER BY finished_at DESC LIMIT 1)
""")
_BATCHES = sa.text("SELECT request_id, sent_at FROM capillary_batch")
#: A batch has a status where its process received a reply and recorded what it proves.
_ANSWERED = sa.text("SELECT request_id FROM capillary_batch WHERE status IS NOT NULL")
_IDS = sa.text("""
    SELECT earned_badge_id FROM capillary_odd_row WHERE earned_badge_id IS NOT NULL
    UNION SELECT earned_badge_id FROM capillary_given_id
""")


class Held(msgspec.Struct, frozen=True):
    """One row of the ledger."""

    customer_id: int
    badge: str
    earned_at: int
    state: RowState
    earned_badge_id: str | None
    request_id: str
    sent_at: float
    in_doubt: bool = False  #: reported as accepted and perhaps granted twice


class LedgerList(msgspec.Struct, frozen=True):
    """What the ledger holds at the end."""

    rows: list[Held]
    reported_unsent: set[
        int
    ]  #: rows not sent, and reported so: by the last job, or since the organisation lacks their badge
    sent_at: dict[str, float]  #: request id -> when its intent was noted
    answered: frozenset[str] = frozenset()  #: request ids whose reply was recorded
    ids: frozenset[str] = frozenset()  #: every earnedBadgeId that stands anywhere


def read_ledger(url: str) -> LedgerList:
    """Read the tables, not through the code under test."""
    engine = make_engine(url)
    with engine.connect() as connection:
        packed = {one.id: _unpacked(one.row_count, one.rows, one.ids) for one in connection.execute(_PACKED)}
        doubts = {tuple(one) for one in connection.execute(_DOUBTS)}
        rows = [_held(row, packed, doubts) for row in connection.execute(_ROWS)]
        reported_unsent = {number for (number,) in connection.execute(_REPORTED_UNSENT)}
        sent = {request_id: sent_at for request_id, sent_at in connection.execute(_BATCHES)}
        answered = frozenset(connection.execute(_ANSWERED).scalars())
        of_batches = {each for batch in packed.values() for _, each in batch.values() if each is not None}
        ids = of_batches | set(connection.execute(_IDS).scalars())
    engine.dispose()
    return LedgerList(rows, reported_unsent, sent, answered, frozenset(ids))


Packed = dict[tuple[int, ...], tuple[int, str | None]]


def _held(row: Any, packed: Mapping[int, Packed], doubts: set[tuple[Any, ...]]) -> Held:
    number, earned_badge_id = row.row_number, row.earned_badge_id
    if not row.is_odd:
        key = (row.customer_id, row.badge_id, row.earned_at, row.occurrence)
        number, earned_badge_id = packed[row.batch_id][key]
    in_doubt = (row.job_id, number) in doubts
    return Held(
        row.customer_id,
        row.badge_meta_id,
        row.earned_at,
        RowState(row.state),
        earned_badge_id,
        row.request_id,
        row.sent_at,
        in_doubt,
    )


def _unpacked(rows: int, packed: bytes, ids: bytes | None) -> Packed:
    """Row number and id of each of a batch's rows, by customer, badge, earn instant and occurrence."""
    columns: list[Sequence[int]] = []
    while packed:
        kind, packed = chr(packed[0]), packed[1:]
        size = 8 if kind == "=" else rows * struct.calcsize(f"<{kind}")
        numbers = struct.unpack("<q" if kind == "=" else f"<{rows}{kind}", packed[:size])
        columns.append(numbers * rows if kind == "=" else numbers)
        packed = packed[size:]
    row_numbers, customers, badges, earned, _, occurrences = columns
    if ids is None:
        found: list[str | None] = [None] * rows
    elif ids[:1] == b"j":
        found = json.loads(ids[1:])
    else:
        found = [ids[at : at + 12].hex() if any(ids[at : at + 12]) else None for at in range(1, len(ids), 12)]
    keys = zip(customers, badges, earned, occurrences, strict=True)
    return dict(zip(keys, zip(row_numbers, found, strict=True), strict=True))


class Difference(msgspec.Struct):
    """What was found. ``unknown`` and ``not_sent`` are reports, no faults; of all else see ``table.py``."""

    rows: int = 0
    twice: int = 0
    unreported: int = 0  #: granted twice, and no report says that this may be
    not_granted: int = 0  #: reported accepted (or already accepted), but not granted
    denied: int = 0  #: granted, but reported as rejected or never sent
    unknown: int = 0
    unknown_granted: int = 0
    not_sent: int = 0  #: reported so by the last job, undisturbed
    lost: int = 0  #: neither accepted, rejected nor invalid, and not reported as unknown or not sent
    unaccounted: int = 0  #: accounts that do not add up or contradict each other
    ids_lost: int = 0  #: given in a reply that was recorded, and nowhere in the ledger
    problems: list[str] = []

    def note(self, text: str) -> None:
        """Keep evidence, but not a book of it: a few of each kind, which is what stands before the colon."""
        kind = text.partition(":")[0]
        if sum(problem.startswith(kind) for problem in self.problems) < 4:
            self.problems.append(text)


class Rules(msgspec.Struct, frozen=True):
    """What counts as the same badge in a campaign."""

    once_per_customer: bool = False
    allow_duplicates: bool = False

    def group(self, customer: int, badge: str, earned_at: int) -> Hashable:
        """Rows of one group are one badge, unless duplicates are allowed."""
        return (customer, badge) if self.once_per_customer else (customer, badge, earned_at)

    def wanted(self, rows: int) -> int:
        """How many grants so many rows of a group ask for."""
        return rows if self.allow_duplicates and not self.once_per_customer else 1


def compare(rows: list[Row], ledger: LedgerList, grants: Iterable[Grant], rules: Rules) -> Difference:
    """Compare the lists, group by group."""
    difference = Difference(rows=len(rows))
    given: dict[Hashable, list[Grant]] = defaultdict(list)
    for grant in grants:
        given[rules.group(grant.customer_id, grant.badge_meta_id, int(grant.earned_at))].append(grant)
    held: dict[Hashable, list[Held]] = defaultdict(list)
    for one in ledger.rows:
        held[rules.group(one.customer_id, one.badge, one.earned_at)].append(one)
    wanted: Counter[Hashable] = Counter()
    reported_unsent: set[Hashable] = set()
    for number, row in enumerate(rows, 1):
        if row.valid:
            wanted[rules.group(*row.identity)] += 1
            if number in ledger.reported_unsent:
                reported_unsent.add(rules.group(*row.identity))
    for group in given.keys() - wanted.keys():
        difference.unaccounted += len(given[group])
        difference.note(f"granted, but in no row: {group}")
    for group, count in wanted.items():
        _compare_group(difference, group, rules.wanted(count), given[group], held[group], group in reported_unsent)
    return difference


def _compare_group(
    difference: Difference, group: Hashable, wanted: int, given: list[Grant], held: list[Held], reported_unsent: bool
) -> None:
    states = Counter(one.state for one in held)
    accepted, unknown = states[RowState.ACCEPTED], states[RowState.UNKNOWN]
    stated = f"{group}: wanted {wanted}, granted {len(given)}, ledger {dict(states)}"
    difference.unknown += unknown
    difference.unknown_granted += min(unknown, max(0, len(given) - accepted))
    if len(given) > wanted:
        difference.twice += len(given) - wanted
        if accepted and not any(one.in_doubt for one in held):
            difference.unreported += len(given) - wanted
            difference.note(f"granted twice, and not stated: {stated}")
        difference.note(f"granted twice: {stated}, by requests {[grant.request_id for grant in given]}")
    ids = {grant.earned_badge_id for grant in given}
    wrong_ids = sum(one.state is RowState.ACCEPTED and one.earned_badge_id not in {None, *ids} for one in held)
    if accepted > len(given) or wrong_ids:
        difference.not_granted += max(accepted - len(given), wrong_ids)
        difference.note(f"accepted, but not granted (or under another earnedBadgeId): {stated}")
    if min(len(given), wanted) > accepted + unknown:
        difference.denied += min(len(given), wanted) - accepted - unknown
        difference.note(f"granted, but denied: {stated}, by requests {[grant.request_id for grant in given]}")
    if not reported_unsent and sum(states[state] for state in _SETTLED) < wanted:
        difference.lost += wanted - sum(states[state] for state in _SETTLED)
        difference.note(f"lost: {stated}")


def compare_ids(difference: Difference, ledger: LedgerList, given: Mapping[str, Iterable[str]]) -> None:
    """Compare the ids that the simulator gave, by request, with those in the ledger."""
    for request_id, ids in given.items():
        lost = set(ids) - ledger.ids if request_id in ledger.answered else set()
        if lost:
            difference.ids_lost += len(lost)
            difference.note(f"ids lost: {len(lost)} of request {request_id}, such as {min(lost)}")


def compare_summary(difference: Difference, summary: Mapping[str, Any], rows: list[Row], granted: int) -> None:
    """Compare the summary of an undisturbed job with what is known of the rows.

    :param granted: how many of the rows have their badge.
    """
    stated = {state.value: summary[state.value] for state in FINAL_STATES}
    invalid = sum(not row.valid for row in rows)
    if summary["rows_read"] != len(rows) or sum(stated.values()) != len(rows) or stated["invalid"] != invalid:
        difference.unaccounted += 1
        difference.note(f"the summary does not add up: {stated} for {len(rows)} rows, {invalid} of them invalid")
    difference.not_sent = stated["not_sent"]
    claimed = stated["accepted"] + stated["already_accepted"]
    if claimed > granted:
        difference.not_granted += claimed - granted
        difference.note(f"the summary claims {claimed} rows as accepted, {granted} rows have their badge: {stated}")
    if granted > claimed + stated["unknown"]:
        difference.denied += granted - claimed - stated["unknown"]
        difference.note(f"{granted} rows have their badge, the summary has fewer: {stated}")


def rows_with_their_badge(rows: list[Row], grants: Iterable[Grant], rules: Rules) -> int:
    """How many valid rows are of a group that was granted; with duplicates allowed, each grant serves one row."""
    given = Counter(rules.group(g.customer_id, g.badge_meta_id, int(g.earned_at)) for g in grants)
    asked = Counter(rules.group(*row.identity) for row in rows if row.valid)
    if rules.wanted(2) == 2:
        return sum(min(count, given[group]) for group, count in asked.items())
    return sum(count for group, count in asked.items() if given[group])
