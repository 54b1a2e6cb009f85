"""The rows of a campaign: a pure function of the seed, with the cases that a real night's data has."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import NamedTuple

BADGES = tuple(f"5eed0000bad9e0000{number:07x}" for number in range(1, 6))
UNKNOWN_BADGE = "f" * 24  #: well-formed, but the organisation does not have it
COLUMNS = ("badge_meta_id", "customer_id", "earn_event_date", "earn_expires_on")
_FIRST_EARN = 1_700_000_000
_YEAR = 31_536_000


class Row(NamedTuple):
    """One row, as it is written into the dataset. ``valid``: it may be sent, whatever the API makes of it."""

    badge: str
    customer: str
    earned: str
    expires: str
    valid: bool = True

    @property
    def identity(self) -> tuple[int, str, int]:
        """Customer, badge and instant of a valid row."""
        return int(self.customer), self.badge, int(self.earned)


def rows_of(seed: int, count: int, *, plain: bool = False) -> list[Row]:
    """The rows of a seed. ``plain``: every row can be granted, and no customer has a badge at two instants."""
    chance = random.Random(f"rows {seed}")
    rows: list[Row] = []
    for number in range(count):
        special = None if number < 10 else _special(chance, rows, 0.04 if plain else 0.1)
        rows.append(special or _new_customer(chance, seed, number))
    return rows


def even_rows(seed: int, count: int, *, earlier: int = 0) -> list[Row]:
    """Rows of as many customers with consecutive ids, of one badge and one instant (not on a minute), not expired.

    :param earlier: seconds by which the instant is earlier.
    """
    earned = 1_760_000_005 + seed - earlier
    first = 1_000_000_000 + seed * 10_000
    return [Row(BADGES[0], str(first + n), str(earned), str(earned + 20 * _YEAR)) for n in range(count)]


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write the rows where a job can read them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row[:4] for row in rows)


def _new_customer(chance: random.Random, seed: int, number: int) -> Row:
    customer = 1_000_000_000 + seed % 1_000 * 10_000_000 + number * 7
    return _row(chance.choice(BADGES), customer, _FIRST_EARN + chance.randrange(_YEAR))


def _row(badge: str, customer: int | str, earned: int) -> Row:
    return Row(badge, str(customer), str(earned), str(earned + _YEAR))


def _special(chance: random.Random, rows: list[Row], share: float) -> Row | None:
    """A row that is no new customer's. The first 4 in 100 are harmless: an equal row, or another badge."""
    draw = chance.random()
    if draw >= share:
        return None
    earlier = chance.choice([row for row in rows[-400:] if row.valid])
    customer, badge, earned = earlier.identity
    if draw < 0.02:
        return earlier
    if draw < 0.04:
        return _row(BADGES[(BADGES.index(badge) + 1) % len(BADGES)] if badge in BADGES else badge, customer, earned)
    if draw < 0.07:
        return _row(badge, customer, earned + chance.randrange(1, _YEAR))
    if draw < 0.08:
        return _row(badge, customer, earned - chance.randrange(1, _YEAR))
    if draw < 0.09:
        return _row(UNKNOWN_BADGE, customer, earned)
    return _invalid(chance, earlier)


def _invalid(chance: random.Random, row: Row) -> Row:
    wrong = {"customer": "0", "badge": "no badge", "earned": "yesterday", "expires": row.earned}
    name = chance.choice(sorted(wrong))
    return row._replace(valid=False, **{name: wrong[name]})
