"""What was agreed for the worst night, done for real: the importing process dies, and its ledger is lost with it."""

from __future__ import annotations

from collections import Counter

import pytest

from .conftest import Drill

pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


def test_a_restored_ledger_needs_a_seed_and_loses_nothing(drill: Drill) -> None:
    primary, restored, backup = drill.add_ledger("primary"), drill.add_ledger("restored"), drill.folder / "backup.db"
    drill.imported(drill.dataset(10), primary)
    drill.command("ledger", "backup", str(backup), "--ledger-conn-id", primary)
    tonight = drill.dataset(40)
    granted_without_reply = {"kind": "hang", "when": "after", "customer_id": 25}
    drill.kill(drill.begun_until(granted_without_reply, tonight, primary))
    assert 10 < len(drill.grants()) < 40

    drill.command("ledger", "copy", str(backup), restored)
    log = drill.refused(tonight, restored)
    for words in ("is an older state of the right ledger", "BadgeSeedOperator", "airflow capillary ledger accept"):
        assert words in log
    seeded = drill.airflow.wait(drill.begin("drilled_seed", drill.export(), restored))
    assert seeded.states["seed"] == ["success", 1], seeded.log[-5_000:]
    assert "task seed" in drill.witness.read().noted_by
    drill.imported(tonight, restored)
    drill.imported(drill.dataset(45), restored)
    assert drill.grants() == Counter(range(1, 46))
    assert "is another ledger" not in drill.refused(drill.dataset(50), primary)  # it lacks what came after the seed


def test_a_ledger_file_moves_to_a_server(drill: Drill) -> None:
    file, server = drill.add_file("file"), drill.add_ledger("server")
    drill.imported(drill.dataset(10), file)
    copied = drill.command("ledger", "copy", file, server)
    assert "The source is sealed" in copied.log
    before = drill.witness.read()
    assert "is sealed: it was copied to" in drill.refused(drill.dataset(20), file)
    drill.imported(drill.dataset(20), server)
    assert drill.grants() == Counter(range(1, 21))
    after = drill.witness.read()
    assert (after.ledger_id, len(after.jobs)) == (before.ledger_id, 2)
    assert drill.witness.writes() == 4  # two for each import; what is refused writes nothing
