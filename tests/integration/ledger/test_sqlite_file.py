"""A file as ledger: only where every commit stays in reach."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.exceptions import LedgerUnusableError, WrongLedgerError
from airflow_provider_capillary.ledger import sqlite_file
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.ledger.reader import LedgerReader
from airflow_provider_capillary.ledger.sqlite_file import refuse_unfit

from .building import badge, begin, bring_to, claim, states

_KILLED = """
import os, signal, sys
from airflow_provider_capillary.ledger.ledger import Ledger
from tests.integration.ledger.building import badge, begin, claim
ledger = Ledger(sys.argv[1])
claim(ledger, begin(ledger), badge(1))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def killed(path: Path) -> Path:
    """A ledger whose process was killed after a commit that stands in the WAL."""
    ended = subprocess.run([sys.executable, "-c", _KILLED, f"sqlite:///{path}"], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert Path(f"{path}-wal").stat().st_size > 0
    return path


def opened(path: Path) -> dict[int, str]:
    with closing(Ledger(f"sqlite:///{path}")) as ledger:
        return states(ledger)


def test_a_killed_process_loses_no_commit(killed: Path) -> None:
    assert opened(killed) == {1: "intent"}
    assert opened(killed) == {1: "intent"}


def test_a_symbolic_link_leads_to_every_commit(killed: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(killed)
    assert opened(tmp_path / "link.db") == {1: "intent"}


def test_a_file_with_two_names_is_refused(killed: Path, tmp_path: Path) -> None:
    os.link(killed, tmp_path / "other.db")
    for name in ("other.db", "ledger.db"):
        with pytest.raises(WrongLedgerError, match="has 2 names"):
            opened(tmp_path / name)


def test_a_wal_that_was_removed_is_missed(killed: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{killed}{suffix}").unlink()
    with pytest.raises(WrongLedgerError, match="-wal is missing"):
        opened(killed)


def test_a_copy_needs_its_wal(killed: Path, tmp_path: Path) -> None:
    shutil.copy(killed, tmp_path / "copy.db")
    with pytest.raises(WrongLedgerError, match="a copy without it"):
        opened(tmp_path / "copy.db")
    shutil.copy(f"{killed}-wal", tmp_path / "copy.db-wal")
    assert opened(tmp_path / "copy.db") == {1: "intent"}


def test_a_copy_of_a_closed_ledger_is_whole(path: Path, tmp_path: Path) -> None:
    with closing(Ledger(f"sqlite:///{path}")) as ledger:
        bring_to(ledger, begin(ledger), RowState.ACCEPTED, badge(1))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ledger.db"]
    shutil.copy(path, tmp_path / "copy.db")
    assert opened(tmp_path / "copy.db") == {1: "accepted"}


def test_a_persons_word_takes_a_file_without_wal(killed: Path) -> None:
    Path(f"{killed}-wal").unlink()
    Ledger(f"sqlite:///{killed}", without_wal=True).close()
    Ledger(f"sqlite:///{killed}").close()


def test_a_filesystem_without_wal_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_PAUSE", 0)
    # this way of locking has no shared memory, as a network file system has none
    with pytest.raises(WrongLedgerError, match="write-ahead log"):
        Ledger(f"sqlite:///file:{path}?vfs=unix-dotfile&uri=true")


@pytest.mark.parametrize(
    ("mounts", "reason"),
    [
        ("36 35 98:0 / {path} rw - ext4 /dev/root rw", "is mounted alone"),
        ("36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:40 / {folder} rw shared:1 - nfs4 host:/x rw", r"\(nfs4\)"),
        ("37 36 0:40 / {folder} rw - cifs //host/x rw", r"\(cifs\)"),
    ],
)
def test_a_single_or_remote_mount_is_refused(path: Path, mounts: str, reason: str) -> None:
    with pytest.raises(WrongLedgerError, match=reason):
        refuse_unfit(path, mounts=mounts.format(path=path, folder=path.parent))


@pytest.mark.parametrize(
    "mounts",
    [
        "",
        "37 36 0:40 / {folder} rw - ext4 /dev/sdb rw",
        "36 35 0:39 / / rw - nfs4 host:/root rw\n37 36 0:40 / {folder} rw - tmpfs tmpfs rw",
        "37 36 0:40 / {folder}/ledger rw - nfs host:/x rw",
    ],
)
def test_a_local_disk_is_accepted(path: Path, mounts: str) -> None:
    refuse_unfit(path, mounts=mounts.format(path=path, folder=path.parent))


def test_a_mount_point_with_a_blank_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a ledger.db"
    with pytest.raises(WrongLedgerError, match="is mounted alone"):
        refuse_unfit(path, mounts=f"36 35 98:0 / {tmp_path}/a\\040ledger.db rw - ext4 /dev/root rw")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_vanishing_file_stops_its_job(path: Path, replaced: bool) -> None:
    with closing(Ledger(f"sqlite:///{path}")) as ledger:
        job = begin(ledger)
        path.unlink()
        if replaced:
            path.touch()
        with pytest.raises(LedgerUnusableError, match="removed or replaced"):
            claim(ledger, job, badge(1))


def test_a_reading_shell_changes_nothing(path: Path) -> None:
    with closing(Ledger(f"sqlite:///{path}")) as ledger:
        shell = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        bring_to(ledger, begin(ledger), RowState.ACCEPTED, badge(1))
        shell.execute("SELECT count(*) FROM capillary_row").fetchone()
    shell.close()
    assert opened(path) == {1: "accepted"}


@pytest.mark.parametrize("reader_leaves_last", [True, False])
def test_a_read_page_leaves_the_ledger_intact(path: Path, reader_leaves_last: bool) -> None:
    url = f"sqlite:///{path}"
    reader = LedgerReader(url)
    with closing(Ledger(url)) as ledger:
        if reader_leaves_last:
            assert reader.dag_ids() == []
        assert ledger.jobs(1) == []
    assert reader.dag_ids() == []
    reader.close()
    with closing(Ledger(url)) as ledger:
        assert ledger.jobs(1) == []


def test_many_opening_and_closing_disturb_none(path: Path) -> None:
    Ledger(f"sqlite:///{path}").close()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                with closing(Ledger(f"sqlite:///{path}")) as ledger:
                    bring_to(ledger, begin(ledger, f"{number} {turn}"), RowState.ACCEPTED, badge(1000 * number + turn))
        except BaseException as error:  # noqa: BLE001 - the test's thread reports it
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(opened(path)) == 32
