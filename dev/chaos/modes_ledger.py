"""Modes of the ledger: what people, containers and databases do to it between two tries."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import sqlalchemy as sa

from .mode import Mode, NotPossibleHereError
from .plans import End
from .stage import NIGHT, Stage
from .standby import standby_of

_NEXT_NIGHT = msgspec.structs.replace(NIGHT, run_id="night-2")
_CLEARED = msgspec.structs.replace(_NEXT_NIGHT, max_tries=5)
_KILLED_AT_ITS_END = End(call="finish_job", moment="before", number=1)


#: Makes the ledger's file, or what is left of it, available at another path; gives the command that undoes it, if any.
Move = Callable[[Path, Path], list[str] | None]


def moved(stage: Stage, move: Move) -> None:
    """A job is killed at its end; the retry gets the ledger's file by another way."""
    path = _path(stage)
    stage.run(end=_KILLED_AT_ITS_END)
    other = stage.folder / "elsewhere" / "led.db"
    other.parent.mkdir()
    undo = move(path, other)
    if undo is not None:
        stage.afterwards.callback(subprocess.run, undo, check=True)
    stage.ledger = f"sqlite:///{other}"
    stage.end()


def copied_without_wal(path: Path, other: Path) -> None:
    """A backup that copies the file and not what stands beside it."""
    shutil.copy(path, other)


def wal_removed(path: Path, other: Path) -> None:
    """The files beside the ledger are taken for litter."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.rename(other)


def hard_linked(path: Path, other: Path) -> None:
    """The same file has two names."""
    os.link(path, other)


def mounted_alone(path: Path, other: Path) -> list[str]:
    """The file, not its folder, is mounted into a container."""
    other.touch()
    return _mount(path, other)


def _mount(path: Path, other: Path) -> list[str]:
    done = subprocess.run(["mount", "--bind", str(path), str(other)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPossibleHereError(f"mount --bind: {done.stderr.strip()}")
    return ["umount", str(other)]


def removed(path: Path, other: Path) -> None:
    """The file is gone."""
    path.unlink()


def linked(path: Path, other: Path) -> None:
    """A symbolic link: SQLite finds the file's own name, and what stands beside it."""
    other.symlink_to(path)


def copied_whole(path: Path, other: Path) -> None:
    """A backup of the file and of what stands beside it, while no process has it open."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{other}{suffix}")


def folder_mounted(path: Path, other: Path) -> list[str]:
    """The folder is mounted into a container, as the documentation of SQLite asks for."""
    path.rename(path.with_name(other.name))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").rename(path.with_name(f"{other.name}{suffix}"))
    return _mount(path.parent, other.parent)


def removed_while_running(stage: Stage) -> None:
    """The ledger's file is removed while a job has it open: the system keeps it for that process alone."""
    child = stage.begin(end=End(call="send", moment="before", number=2, pause=True))
    if stage.wait_until_paused(child):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{_path(stage)}{suffix}").unlink(missing_ok=True)
        child.send_signal(signal.SIGCONT)
    stage.wait(child)
    stage.end()


def older_copy(stage: Stage) -> None:
    """After the second night the ledger is replaced by a backup of the first night."""
    path, backup = _path(stage), stage.folder / "backup.db"
    tonight = stage.rows[: len(stage.rows) // 2]
    stage.run(rows=tonight)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    stage.run(_NEXT_NIGHT)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    backup.rename(path)
    stage.end(_CLEARED)


def another_schema(stage: Stage) -> None:
    """The role's ``search_path`` leads to another schema from the second night on."""
    stage.run()
    database = sa.make_url(stage.ledger).database
    with psycopg.connect(stage.ledger, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute(f'ALTER DATABASE "{database}" SET search_path = elsewhere'.encode())
    stage.end(_NEXT_NIGHT)


def promoted_standby(stage: Stage) -> None:
    """An asynchronous standby is cut off before the second night, and promoted after it: the primary is lost."""
    stage.run(rows=stage.rows[: len(stage.rows) // 2])
    standby = stage.afterwards.enter_context(standby_of(stage.ledger))
    standby.cut_off()
    stage.run(_NEXT_NIGHT)
    standby.promote()
    stage.ledger = standby.url(sa.make_url(stage.ledger).database)
    stage.end(_CLEARED)


def _path(stage: Stage) -> Path:
    return Path(str(sa.make_url(stage.ledger).database))


_MODES = (
    Mode("ledger copied without -wal", partial(moved, move=copied_without_wal)),
    Mode("-wal removed as litter", partial(moved, move=wal_removed), in_tests=False),
    Mode("ledger by a hard link", partial(moved, move=hard_linked)),
    Mode("ledger's file mounted alone", partial(moved, move=mounted_alone)),
    Mode("ledger's file gone", partial(moved, move=removed), in_tests=False),
    Mode("ledger's file removed while the job runs", removed_while_running),
    Mode("ledger by a symbolic link", partial(moved, move=linked)),
    Mode("ledger's folder mounted", partial(moved, move=folder_mounted), in_tests=False),
    Mode("ledger copied with -wal", partial(moved, move=copied_whole), in_tests=False),
    Mode("ledger replaced by an older copy", older_copy),
    Mode("search_path leads to another schema", another_schema, database="postgres"),
    Mode("standby promoted that lacks the last night", promoted_standby, database="postgres", in_tests=False),
)
LEDGER_MODES = tuple(msgspec.structs.replace(mode, may_be_refused=True) for mode in _MODES)
