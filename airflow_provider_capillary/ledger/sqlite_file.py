"""Checks whether an SQLite file can be a ledger: it has one name, in one place, with all its commits.

Commits are in ``<name>-wal`` beside the file until SQLite moves them into it. A ledger opened by a second name, by a
mount of the file alone, or from a copy without that second file lacks them. The last process that closes the ledger
moves all commits and switches the WAL off. So if a file's header says that the WAL is on, the second file must exist.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from airflow_provider_capillary.exceptions import WrongLedgerError

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_WAL_IS_ON = b"\x02\x02"  # bytes 18 and 19: the versions that a writer and a reader must know
_SECONDS_TO_SWITCH = 3.0
_TRIES_TO_SWITCH = 25
_PAUSE = 0.04


def path_of(database: str) -> Path:
    """The file's own path, with symbolic links resolved as SQLite resolves them."""
    return Path(os.path.realpath(database.removeprefix("file:").partition("?")[0]))


def refuse_unfit(path: Path, *, mounts: str | None = None, without_wal: bool = False) -> None:
    """Refuse a file that could lose commits, or of which there could be two.

    :param mounts: the text of ``/proc/self/mountinfo``; ``None``: read it.
    :param without_wal: a person said that nothing is missing although the WAL is.
    :raises WrongLedgerError: it has two names, is mounted alone, lies on a network file system, or its WAL is missing.
    """
    kind, is_alone = _mounted(path, _MOUNTS.read_text() if mounts is None and _MOUNTS.exists() else mounts or "")
    if is_alone:
        raise WrongLedgerError(
            f"the ledger's file {path} is mounted alone, so that what SQLite keeps beside it is lost with the "
            "container. Nothing was sent. Mount its folder, and give the file in it"
        )
    if kind in _NETWORK:
        raise WrongLedgerError(
            f"the ledger's file {path} lies on a network file system ({kind}), where SQLite cannot keep it safe. "
            "Nothing was sent. Use a disk of this machine, or PostgreSQL"
        )
    if not path.exists():
        return
    if (names := path.stat().st_nlink) > 1:
        raise WrongLedgerError(
            f"the ledger's file {path} has {names} names (hard links), and SQLite keeps what was committed last beside "
            "one of them. Nothing was sent. Remove the other names, found with find -samefile, but none of -wal"
        )
    if not without_wal and _lacks_wal(path):
        raise WrongLedgerError(
            f"{path}-wal is missing, which held what the ledger committed last: it was removed, or {path} is a copy "
            "without it. Nothing was sent. Put it back, or restore a whole backup (airflow capillary ledger backup). "
            "If you know that nothing is missing, such as for a copy made with SQLite's .backup: airflow capillary "
            "ledger accept"
        )


def begin_wal(connection: sqlite3.Connection) -> None:
    """Switch the WAL on and keep the file open, so that no other process can switch it off.

    :raises WrongLedgerError: the file system or the way of opening cannot do it.
    """
    for left in reversed(range(_TRIES_TO_SWITCH)):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        except sqlite3.OperationalError as error:
            # another process is switching it at this moment
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or not left:
                raise
        else:
            if mode == "wal":
                return
            if not left:
                raise WrongLedgerError(
                    f"SQLite cannot keep the ledger with a write-ahead log where it is (journal_mode stays {mode!r}), "
                    "as on a network file system. Nothing was sent. Use a disk of this machine, or give ledger_conn_id "
                    "a PostgreSQL database"
                )
        time.sleep(_PAUSE)


def end_wal(path: Path) -> None:
    """Move all commits into the file and switch the WAL off, unless another process has the file open."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_mode=DELETE")


def _lacks_wal(path: Path) -> bool:
    wal = Path(f"{path}-wal")
    deadline = time.monotonic() + _SECONDS_TO_SWITCH
    while not wal.exists():
        with path.open("rb") as file:
            if file.read(20)[18:20] != _WAL_IS_ON:
                return False
        if time.monotonic() > deadline:
            return True
        time.sleep(_PAUSE)  # a process that opens or closes the ledger is between the two
    return False


def _mounted(path: Path, mounts: str) -> tuple[str, bool]:
    """The kind of file system that the path is on, and whether the file is mounted by its own name."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4])
        if point == str(path):
            return after.split(" ")[0], True
        if path.is_relative_to(point) and len(point) >= longest:
            kind, longest = after.split(" ")[0], len(point)
    return kind, False
