"""Generates a night's badges: the rows that the warehouse gives, and the grants that must result."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from dev.sample_data.warehouse import BADGES

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "dags" / "sharded_badge_sync.py"
BADGE_IDS = list(BADGES.values())[:4]
ROWS_OF_A_CUSTOMER = len(BADGE_IDS)
_HOUR = 3_600
# Made by the database while it is read: nothing has to be loaded, and the run says how many rows there are.
_SQL = """
select badge_meta_id, customer_id, earn_event_date, earn_event_date + interval '400 days' as earn_expires_on
from (
    select
        (array['{badges}'])[1 + mod(n, {each})] as badge_meta_id,
        1 + n / {each} as customer_id,
        cast(%(date_from)s as timestamptz) + mod(n, {each}) * interval '1 hour' as earn_event_date
    from generate_series(0, {{{{ dag_run.conf["rows"] }}}} - 1) as n
) as earned
order by customer_id, earn_event_date
"""


class _GrantLine(msgspec.Struct):
    customerId: int
    badgeMetaId: str
    earnEventDate: float


def write_dags(folder: Path, parts: Iterable[int]) -> None:
    """Copies of the sample DAG for so many parts each, as people copy it: with a query of their own."""
    (folder / "sql").mkdir(parents=True)
    query = _SQL.format(badges="','".join(BADGE_IDS), each=ROWS_OF_A_CUSTOMER)
    (folder / "sql" / "chosen_badges.sql").write_text(query, "utf-8")
    for number in parts:
        source = SAMPLE.read_text("utf-8")
        source = _replaced(source, r"^PARTS = 4$", f"PARTS = {number}")
        source = _replaced(source, r'dag_id="sharded_badge_sync"', f'dag_id="{dag_of(number)}"')
        # as many at once as there are workers
        source = _replaced(source, r"max_active_tis_per_dagrun=2", f"max_active_tis_per_dagrun={number}")
        # only runs that a person asks for, with the day of their logical date
        source = _replaced(source, r"schedule=Cron\w+\(.*\),$", "schedule=None,")
        (folder / f"{dag_of(number)}.py").write_text(source, "utf-8")


def dag_of(parts: int) -> str:
    """The DAG with so many parts."""
    return f"sharded_badge_sync_in_{parts}"


def _replaced(text: str, pattern: str, replacement: str) -> str:
    changed, times = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    assert times == 1, f"the sample has {pattern!r} {times} times"
    return changed


class Night:
    """The rows of one night.

    :param first_day: as ``YYYY-MM-DD``, UTC
    """

    def __init__(self, first_day: str, rows: int) -> None:
        self.rows = rows
        self._midnight = int(datetime.fromisoformat(first_day).replace(tzinfo=UTC).timestamp())
        self._granted = bytearray(rows)
        self.others = 0  #: grants that are not of this night

    def take(self, grants: Iterable[bytes]) -> None:
        """Count grants, as the simulator lists them."""
        decode = msgspec.json.Decoder(_GrantLine).decode
        for line in grants:
            number = self._number(decode(line))
            if number is None:
                self.others += 1
            else:
                self._granted[number] = min(255, self._granted[number] + 1)

    def _number(self, grant: _GrantLine) -> int | None:
        """Which row this is; ``None``: none of this night's."""
        hours, rest = divmod(int(grant.earnEventDate) - self._midnight, _HOUR)
        number = (grant.customerId - 1) * ROWS_OF_A_CUSTOMER + hours
        is_mine = rest == 0 and 0 <= hours < ROWS_OF_A_CUSTOMER and 0 <= number < self.rows
        return number if is_mine and grant.badgeMetaId == BADGE_IDS[hours] else None

    @property
    def missing(self) -> int:
        """Rows that were not granted."""
        return self._granted.count(0)

    @property
    def twice(self) -> int:
        """Rows that were granted more than once."""
        return self.rows - self.missing - self._granted.count(1)
