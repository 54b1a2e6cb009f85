"""An id is found wherever a ledger keeps it, or the column "ids lost" would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from dev.chaos.ids import ids_in_ledger

KEPT, LOST = "6576f7d2a1b2c3d4e5f60718", "6576f7d2a1b2c3d4e5f60719"


@pytest.mark.parametrize(
    "value",
    [
        KEPT,
        f'{{"17": "{KEPT}"}}',
        f"granted by another copy: {KEPT}",
        KEPT.encode(),
        bytes.fromhex(KEPT),
        bytes.fromhex(LOST[:10] + KEPT),
    ],
    ids=["text", "json", "message", "characters", "bytes", "packed"],
)
def test_an_id_is_found_however_it_is_written(tmp_path: Path, value: str | bytes) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text('CREATE TABLE "any table" (key INTEGER, anything)'))
        connection.execute(sa.text('INSERT INTO "any table" VALUES (1, NULL), (2, :value)'), {"value": value})
    engine.dispose()
    assert ids_in_ledger(url, {KEPT, LOST}) == {KEPT}
