"""Modes of reads: a row is granted, its reply is lost, and the read that should settle it is wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_capillary.simulator.fault_plan import DropFault, StrayFault
from airflow_provider_capillary.simulator.simulator_settings import Reads

from .dataset import even_rows
from .mode import Mode
from .modes_wire import once
from .stage import NIGHT, Stage

#: The second batch is applied and the third is not; neither gets a reply. The first and the fourth are as they should.
_LOST = (DropFault(at="after_applying", numbers=(2,)), DropFault(at="after_reading", numbers=(3,)))
_HALF = DropFault(at="after_applying", applied_share=0.5, numbers=(2,))


def earlier_row_sent_last(stage: Stage) -> None:
    """A row's reply is lost; another job grants the same customers the badge of an earlier date; then the retry."""
    earlier = even_rows(stage.seed, len(stage.rows), earlier=86_400)
    stage.run(policy="hold")
    stage.heal()
    stage.run(msgspec.structs.replace(NIGHT, run_id="night-of-earlier-dates"), rows=earlier)
    stage.rows = stage.rows + earlier
    stage.end()


def _lie(name: str, *, listed: bool, in_tests: bool = True, **reads: Any) -> Mode:
    shown = "earns listed" if listed else "counts only"
    return Mode(
        f"reads {name}; {shown}", once, _LOST, {"reads": Reads(**reads), "earns_detail": listed}, {}, 40,
        may_stay_unknown=True, in_tests=in_tests,
    )  # fmt: skip


def _astray(about: str, *, echoed: bool = False) -> Mode:
    fault = StrayFault(about=about)  # type: ignore[arg-type]
    named = ", who is named" if echoed else ", who is not named" if about == "customer" else ""
    return Mode(
        f"reads answered with another {about}{named}", once, (_HALF, fault), {"reads": Reads(echo_customer=echoed)},
        {}, 40, may_stay_unknown=True,
    )  # fmt: skip


READ_MODES = (
    _lie("truthful", listed=True, in_tests=False),
    _lie("truthful", listed=False, in_tests=False),
    _lie("do not show imports", listed=False, show_imports=False),
    _lie("5:30 h early", listed=True, event_shift_seconds=-19_800),
    _lie("5:30 h early", listed=False, event_shift_seconds=-19_800, in_tests=False),
    _lie("5:30 h late", listed=False, event_shift_seconds=19_800, in_tests=False),
    _lie("1 s early", listed=True, event_shift_seconds=-1, in_tests=False),
    _lie("1 s early", listed=False, event_shift_seconds=-1),
    _lie("cut to the minute", listed=True, event_precision_seconds=60, in_tests=False),
    _lie("cut to the minute", listed=False, event_precision_seconds=60),
    _lie("cut to the day", listed=True, event_precision_seconds=86_400, in_tests=False),
    _lie("cut to the day", listed=False, event_precision_seconds=86_400, in_tests=False),
    _lie("in milliseconds", listed=True, milliseconds=True),
    _lie("in milliseconds", listed=False, milliseconds=True, in_tests=False),
    Mode("reads name the id earnId; earns listed", once, _LOST, {"earns_shape": "event"}, {}, 40),
    Mode(
        "reads show the earn sent last, not the latest; counts only", earlier_row_sent_last,
        (DropFault(at="after_applying", numbers=(1,)),), {"reads": Reads(last="posted"), "earns_detail": False}, {}, 10,
        may_stay_unknown=True,
    ),
    _astray("customer"),
    _astray("customer", echoed=True),
    _astray("badge"),
)  # fmt: skip
