"""A mode: one way in which the world around an import goes wrong, and the run of it."""

from __future__ import annotations

import contextlib
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from airflow_provider_capillary.simulator.fault_plan import AnyFault, FaultPlan

from .comparison import Difference
from .dataset import even_rows
from .fork_server import ForkServer
from .ledgers import empty_ledger
from .stage import Stage
from .watched import watched_simulator

#: The columns of a mode's account that should be zero.
ZEROS = ("twice", "unreported", "lost", "not_granted", "denied", "ids_lost", "unaccounted")


class NotPossibleHereError(Exception):
    """A mode needs what this machine does not allow, such as the right to mount."""


class Mode(msgspec.Struct, frozen=True):
    """What differs from an import that all goes well with. A mode is a row of the table in ``docs/guarantees.md``."""

    name: str
    scene: Callable[[Stage], None]
    faults: tuple[AnyFault, ...] = ()
    simulator: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    rows: int = 20
    may_stay_unknown: bool = False  #: the truthful end of it: nothing can prove the rows
    database: Literal["sqlite", "postgres"] = "sqlite"
    may_be_refused: bool = False  #: the ledger is not the right one, so that lives may be refused it
    in_tests: bool = True  #: whether ``make test`` runs it too


class ModeResult(msgspec.Struct):
    """What one campaign of a mode brought to light."""

    mode: str
    seed: int
    difference: Difference
    stuck: int = 0
    seconds: float = 0.0
    skipped: str = ""

    def broken(self, mode: Mode) -> set[str]:
        """The columns that should be zero and are not."""
        columns = ZEROS if mode.may_stay_unknown else (*ZEROS, "unknown")
        return {name for name in columns if getattr(self.difference, name)} | ({"stuck"} if self.stuck else set())


def run_mode(mode: Mode, seed: int, *, server: ForkServer, postgres: str | None, keep: str | None = None) -> ModeResult:
    """Run one campaign of a mode in a folder of its own."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capillary-chaos-")))
        else:
            folder = Path(keep).absolute() / f"{mode.name} {seed}".replace("/", " ")
            folder.mkdir(parents=True)
        name = f"mode-{zlib.crc32(mode.name.encode())}-{seed}"
        ledger = stack.enter_context(empty_ledger(folder, postgres if mode.database == "postgres" else None, name))
        plan = FaultPlan(seed, mode.faults)
        running = stack.enter_context(watched_simulator(plan, **mode.simulator))
        stage = Stage(seed, even_rows(seed, mode.rows), running, ledger, folder, server, stack, **mode.settings)
        try:
            mode.scene(stage)
        except NotPossibleHereError as error:
            return ModeResult(mode.name, seed, Difference(), skipped=str(error))
        found = stage.difference()
        if stage.was_refused and not mode.may_be_refused:
            found.unaccounted += 1
            found.problems = [*found.problems, "a life was refused its ledger, so that the mode tried nothing"]
        return ModeResult(mode.name, seed, found, stage.stuck, time.monotonic() - started)
