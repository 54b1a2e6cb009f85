"""The way of an accepted row, as ARCHITECTURE.md lists it, is the one that it takes."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.row_path import accepted_row

PAGE = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text("utf-8")


def test_the_calls_of_an_accepted_row_come_in_the_order_of_the_page() -> None:
    listed = re.findall(r"^\| `([\w/]+\.py)` `([\w.]+)` \|", PAGE, re.MULTILINE)
    assert len(listed) > 10
    made = iter(accepted_row())
    for call in listed:
        # what comes before the call is passed over, and so what comes after it must be found behind it
        assert call in made, f"{call} is not called after the one above it; correct the table in ARCHITECTURE.md"
