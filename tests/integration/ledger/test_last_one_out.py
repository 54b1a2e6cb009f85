"""The last process that closes an SQLite ledger, also one that only read, leaves it fit for the next import."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.reader import LedgerReader


@pytest.mark.parametrize("reader_leaves_last", [True, False])
def test_a_read_page_leaves_the_ledger_intact(tmp_path: Path, reader_leaves_last: bool) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    reader = LedgerReader(url)
    with closing(Ledger(url)) as ledger:
        if reader_leaves_last:
            assert reader.dag_ids() == []
        assert ledger.jobs(1) == []
    assert reader.dag_ids() == []
    reader.close()
    with closing(Ledger(url)) as ledger:
        assert ledger.jobs(1) == []
