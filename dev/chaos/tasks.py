"""Runs one campaign after the other in a process of the driver, each in a folder of its own."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec

from .campaign import Result, run_campaign
from .fork_server import ForkServer
from .ledgers import empty_ledger
from .mode import ModeResult, run_mode
from .modes import MODES
from .same_grants import killed_often

KILLED_OFTEN = "killed-often"


class Task(msgspec.Struct, frozen=True):
    """One campaign to run."""

    seed: int
    rows: int
    deaths: int
    policy: str  #: or ``killed-often``
    postgres: str | None
    keep: str | None

    @property
    def name(self) -> str:
        """Its folder's, and its database's."""
        return f"chaos-{self.policy}-{self.seed}-{'postgres' if self.postgres else 'sqlite'}"

    @property
    def command(self) -> str:
        """How to run it again: same rows, same plan; only the scheduler is another."""
        if self.policy == KILLED_OFTEN:
            return f"python -m dev.chaos --seeds {self.seed} --policies '' --killed-often {self.rows} --keep FOLDER"
        ledger = "postgres" if self.postgres else "sqlite"
        return (
            f"python -m dev.chaos --seeds {self.seed} --policies {self.policy} --ledger {ledger} "
            f"--rows {self.rows} --deaths {self.deaths} --keep FOLDER"
        )


class ModeTask(msgspec.Struct, frozen=True):
    """One campaign of a mode to run."""

    mode: str
    seed: int
    postgres: str | None
    keep: str | None


_SERVERS: list[ForkServer] = []  #: of this process; one is enough


def _server() -> ForkServer:
    if not _SERVERS:
        _SERVERS.append(ForkServer())
    return _SERVERS[0]


def run_mode_task(task: ModeTask) -> ModeResult:
    """Run a campaign of a mode."""
    return run_mode(MODES[task.mode], task.seed, server=_server(), postgres=task.postgres, keep=task.keep)


def run_task(task: Task) -> Result:
    """Run it."""
    server = _server()
    with contextlib.ExitStack() as stack:
        if task.keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capillary-chaos-")))
        else:
            folder = Path(task.keep).absolute() / task.name
            folder.mkdir(parents=True)
        ledger = stack.enter_context(empty_ledger(folder, task.postgres, task.name))
        if task.policy == KILLED_OFTEN:
            return killed_often(
                task.seed,
                rows=task.rows,
                batch_size=200,
                deaths=task.deaths,
                ledger=ledger,
                folder=folder,
                server=server,
            )
        return run_campaign(
            task.seed,
            rows=task.rows,
            deaths=task.deaths,
            policy=task.policy,
            ledger=ledger,
            folder=folder,
            server=server,
        )
