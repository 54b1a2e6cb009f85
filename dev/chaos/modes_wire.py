"""Modes of the wire: informational replies, refusals after the rows were applied, arrays that prove nothing."""

from __future__ import annotations

from airflow_provider_capillary.simulator.fault_plan import (
    AnyFault,
    ArrayFault,
    DropFault,
    EchoFault,
    InterimFault,
    StatusFault,
)

from .mode import Mode
from .stage import Stage

_FIRST = (1,)  #: the import that goes wrong
#: Half of the second batch is applied, and no reply says which. The first one shows that reads show imports.
_HALF = DropFault(at="after_applying", applied_share=0.5, numbers=(2,))
_HALF_OF_THE_FIRST = DropFault(at="after_applying", applied_share=0.5, numbers=_FIRST)
_LOST = DropFault(at="after_applying", numbers=_FIRST)
_INTERIM = InterimFault(operation="any", statuses=(102, 103))
_ONE_BATCH = {"batch_size": 20}
_SLOW = {"latency_ms": 50.0}  # with quick replies the client sees that bytes wait, and drops the connection


def once(stage: Stage) -> None:
    """An import with the mode's faults; then what Airflow does next."""
    stage.run()
    stage.end()


def always(stage: Stage) -> None:
    """The mode's faults stay."""
    stage.run()
    stage.try_again()


def _before_a_read(status: int) -> Mode:
    interim = InterimFault(operation="customer_badge", statuses=(status,), seconds=1.5, numbers=_FIRST)
    return Mode(f"{status} before a read's reply", once, (_HALF, interim), _SLOW)


def _before_an_import(status: int) -> Mode:
    return Mode(
        f"{status} before an import's reply",
        once,
        (InterimFault(statuses=(status,), seconds=1.5, numbers=_FIRST),),
        _SLOW,
    )


def _applied(status: int, body: str, *, in_tests: bool = True, code: int | None = None) -> Mode:
    location = "https://elsewhere.example/login" if 300 <= status < 400 else None
    fault = StatusFault(status=status, when="after", body=body, code=code, location=location, numbers=_FIRST)  # type: ignore[arg-type]
    kinds = {"envelope": "an error envelope", "html": "a page", "empty": "no body", "gateway": "a gateway's JSON"}
    return Mode(f"{status} with {kinds[body]}, after applying", once, (fault,), in_tests=in_tests)


def _given(name: str, fault: AnyFault) -> Mode:
    return Mode(name, once, (fault,), {"earns_detail": False})  # reads give no ids, as in every published sample


WIRE_MODES = (
    _before_a_read(102),
    _before_a_read(103),
    _before_an_import(102),
    _before_an_import(103),
    Mode("102 and 103 at once before every reply", always, (_LOST, _INTERIM)),
    Mode("reply lost, half of the rows applied", once, (_HALF,)),
    Mode("reply to the first batch of all lost, half of it applied", once, (_HALF_OF_THE_FIRST,)),
    Mode(
        "reply to the only batch lost, half of it applied",
        once,
        (_HALF_OF_THE_FIRST,),
        {},
        _ONE_BATCH,
        may_stay_unknown=True,
    ),
    _applied(408, "envelope"),
    _applied(408, "html", in_tests=False),
    _applied(408, "gateway", in_tests=False),
    _applied(409, "envelope"),
    _applied(409, "empty", in_tests=False),
    _applied(499, "envelope", in_tests=False),
    _applied(499, "html", in_tests=False),
    _applied(422, "gateway"),
    _applied(422, "envelope"),
    _applied(429, "envelope"),
    _applied(303, "empty"),
    _applied(302, "html", in_tests=False),
    _applied(307, "envelope", in_tests=False),
    _applied(504, "html", in_tests=False),
    _given("array reordered", ArrayFault(change="reordered", numbers=_FIRST)),
    _given("array reordered, numbered by place", ArrayFault(change="renumbered", numbers=_FIRST)),
    _given("array one entry short", ArrayFault(change="short", numbers=_FIRST)),
    _given("array one entry long", ArrayFault(change="long", numbers=_FIRST)),
    _given("array with one entry twice", ArrayFault(change="duplicated", numbers=_FIRST)),
    _given("array numbered wrongly", ArrayFault(change="misnumbered", numbers=_FIRST)),
    _given("one badge echoed wrongly", EchoFault(field="badge", position=4, numbers=_FIRST)),
    _given("one customer echoed wrongly", EchoFault(field="customer", position=4, numbers=_FIRST)),
    _given("one expiry echoed wrongly", EchoFault(field="expiry", position=4, numbers=_FIRST)),
)
