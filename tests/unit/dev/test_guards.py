"""``make guards`` takes minutes; that every switch still finds its place is seen at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.guards.switches import GUARDS, Guard

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_switch_finds_its_guard(guard: Guard) -> None:
    for path, old, new in guard.edits:
        text = (ROOT / path).read_text()
        assert guard.switched_off(text, old, new) != text
