"""Every combination of the simulator's modes that a first contact is about, and what a probe must answer in each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from airflow_provider_capillary.core.probing import RepeatedId, Shown
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.simulator.simulator_settings import Reads
from dev.first_contact.contact import Clock, FirstContact


class Mode(NamedTuple):
    """What an API is like, as far as a probe can find out; and the method that the connection names first."""

    first: str
    methods: tuple[str, ...]
    timestamps: str
    refuse_repeated: bool
    zone: str
    show_imports: bool
    shift: int
    precision: int
    milliseconds: bool
    last: str
    echo_customer: bool
    shape: str
    delay: float

    def simulated(self) -> dict[str, Any]:
        """The simulator's settings."""
        return {
            "methods": self.methods,
            "timestamps": self.timestamps,
            "refuse_repeated_request_ids": self.refuse_repeated,
            "zone": self.zone,
            "reads": Reads(
                show_imports=self.show_imports,
                event_shift_seconds=self.shift,
                event_precision_seconds=self.precision,
                milliseconds=self.milliseconds,
                last=self.last,  # type: ignore[arg-type]
                echo_customer=self.echo_customer,
            ),
            "earns_detail": self.shape != "none",
            "earns_shape": self.shape if self.shape != "none" else "issuals",
            "read_delay_seconds": self.delay,
        }


#: The values of each of a mode's settings, in order.
VALUES: tuple[tuple[Any, ...], ...] = (
    ("PUT", "POST"),
    (("PUT",), ("POST",), ("PUT", "POST")),
    ("epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields"),
    (False, True),
    ("UTC", "Asia/Kolkata"),
    (True, False),
    (0, -19_800, 7_200),
    (1, 60, 86_400),
    (False, True),
    ("latest", "posted"),
    (False, True),
    ("issuals", "event", "none"),
    (0.0, 45.0),
)


def modes(every: int = 1) -> Iterator[Mode]:
    """All modes, or every so-many-th of them; a prime number meets each value of each setting."""
    return map(Mode._make, itertools.islice(itertools.product(*VALUES), 0, None, every))


@contextmanager
def quick_ledger(folder: Path, clock: Clock) -> Iterator[Ledger]:
    """One for all modes: each is an organisation of its own. Its disk is not waited for: no power is cut here."""
    with closing(Ledger(f"sqlite:///{folder / 'ledger.db'}", clock=clock.now)) as ledger:
        ledger.database.engine.dispose()
        sa.event.listen(ledger.database.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF"))
        yield ledger


def try_mode(ledger: Ledger, clock: Clock, mode: Mode) -> None:
    """Probe an API of this mode.

    :raises AssertionError: an answer is not the truth, or something is left behind.
    """
    contact = FirstContact(ledger, clock, mode.first, **mode.simulated())
    probed = contact.probe()
    answers = probed.answers
    assert (contact.active, probed.left, probed.error) == (0, (), None)
    assert 1 <= contact.grants == probed.granted == probed.revoked <= 3
    method = mode.first if mode.first in mode.methods else mode.methods[0]
    assert answers.extras == {"import_method": method, "timestamp_format": mode.timestamps}
    expected = RepeatedId.REFUSED if mode.refuse_repeated else RepeatedId.GRANTED_AGAIN
    assert answers.repeated_request_id is expected
    assert answers.server_offset == ("Z" if mode.zone == "UTC" else "+05:30")
    assert answers.reads_show is mode.show_imports
    if not mode.show_imports:
        assert (answers.read_instant, answers.verify_after, answers.on_unknown) == (None, None, "hold")
        return
    assert answers.read_after is not None
    assert mode.delay <= answers.read_after <= mode.delay + 10
    assert answers.read_id is (mode.shape != "none")
    instant = _instant(mode)
    assert answers.read_instant is instant
    if instant is not Shown.EXACT:
        assert (answers.verify_after, answers.on_unknown) == (None, "hold")
        return
    assert answers.on_unknown == "verify"
    assert (answers.verify_after or 0) >= max(60, 2 * mode.delay)
    assert mode.delay or answers.verify_after == 60


def _instant(mode: Mode) -> Shown:
    if mode.milliseconds and mode.shape != "event":
        return Shown.NONE  # number and ISO text contradict each other
    if mode.precision > 1:
        return Shown.COARSE
    return Shown.SHIFTED if mode.shift else Shown.EXACT
