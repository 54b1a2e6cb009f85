"""A stack leaves no process behind, whatever happens to it, and finds its data again. Here without Airflow."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest

from dev.postgres import forget_reused_number
from dev.processes import Processes, Started, family, left_over
from dev.stack import local_stack
from dev.stack.folder_lock import FolderInUseError
from dev.stack.local_stack import LocalStack, StackDidNotStartError
from tests.end_to_end.stacks import stack_in

HALF_A_STACK = Path(__file__).with_name("half_a_stack.py")


def on_record(folder: Path) -> list[Started]:
    return msgspec.json.decode((folder / "processes.json").read_bytes(), type=list[Started])


def other_stack(folder: Path) -> tuple[subprocess.Popen[bytes], list[Started]]:
    """Half a stack in a process of its own, and what it has started."""
    ready = folder.with_name("ready")
    command = [sys.executable, str(HALF_A_STACK), str(folder), str(ready)]
    process = Processes().start("half a stack", command, os.environ, folder.with_name("output"))
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, on_record(folder)


def test_an_interrupted_stack_leaves_no_process_behind(folder: Path) -> None:
    process, started = other_stack(folder)
    assert [one.name for one in started] == ["postgres", "simulator"]
    assert all(family(one) for one in started)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)  # impatient
    process.wait(60)
    assert [member for one in started for member in family(one)] == []
    assert on_record(folder) == []


def test_the_next_stack_ends_what_a_killed_one_left(folder: Path) -> None:
    process, started = other_stack(folder)
    process.kill()
    process.wait()
    assert left_over(folder / "processes.json") == started
    stack, output = stack_in(folder)
    port = (folder / "simulator.port").read_text()
    with stack:
        assert stack.simulator.url.endswith(f":{port}")
        assert "left behind: postgres, simulator" in output.getvalue()
        assert [member for one in started for member in family(one)] == []
        with stack.postgres.connect("warehouse") as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    assert on_record(folder) == []


def test_a_second_stack_in_one_folder_is_refused(stack: LocalStack) -> None:
    second, _ = stack_in(stack.folder)
    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"), second:
        pytest.fail("it began")
    with pytest.raises(FolderInUseError):
        second.remove()
    stack.postgres.connect("warehouse").close()


def test_postgres_listens_to_its_owner_only(stack: LocalStack) -> None:
    assert stack.postgres.socket_folder.stat().st_mode & 0o077 == 0
    with stack.postgres.connect("postgres") as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_table_is_there_or_not(stack: LocalStack) -> None:
    assert not stack.postgres.has_table("warehouse", "kept")
    with stack.postgres.connect("warehouse") as connection:
        connection.execute("CREATE TABLE kept (number integer)")
    assert stack.postgres.has_table("warehouse", "kept")
    with pytest.raises(psycopg.OperationalError):
        stack.postgres.connect("no such database")


def test_removing_ends_processes_and_removes_files(folder: Path) -> None:
    folder.mkdir()
    left = Processes(folder / "processes.json")
    child = left.start("scheduler", [sys.executable, "-c", "import time; time.sleep(60)"], os.environ, folder / "log")
    stack, output = stack_in(folder)
    stack.remove()
    assert child.wait(10) == -signal.SIGTERM
    assert "left behind: scheduler" in output.getvalue()
    assert not folder.exists()


def test_a_failed_start_names_its_log_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    fails = [sys.executable, "-c", "raise SystemExit('no')"]
    monkeypatch.setattr(LocalStack, "_prepare_metadata", lambda *_: None)
    monkeypatch.setattr(
        local_stack,
        "_COMMANDS",
        {"api-server": sleeps, "scheduler": sleeps, "dag-processor": fails, "triggerer": sleeps},
    )
    stack, _ = stack_in(folder)
    with pytest.raises(StackDidNotStartError, match=r"dag-processor.*dag-processor\.log"), stack:
        stack.start_airflow()
    assert "no" in (folder / "logs" / "dag-processor.log").read_text()
    assert on_record(folder) == []


def test_a_closed_terminal_keeps_no_process_alive(folder: Path) -> None:
    @contextmanager
    def closed(text: str) -> Iterator[None]:
        if text == "Stopping":
            raise OSError(errno.EIO, "the terminal is gone")
        yield

    stack = LocalStack(folder, [], closed, durable=False)
    with pytest.raises(OSError, match="terminal"), stack:
        started = stack.processes.started()
    assert [member for one in started for member in family(one)] == []


def test_a_socket_in_a_deep_folder_works(folder: Path) -> None:
    stack, _ = stack_in(folder / ("deep" * 10) / ("deeper" * 10))
    with stack:
        sockets = stack.postgres.socket_folder
        assert sockets != stack.folder / "postgres"
        assert sockets.stat().st_mode & 0o077 == 0
    assert not sockets.exists()


def test_a_reused_process_number_is_forgotten(folder: Path) -> None:
    folder.mkdir()
    note = folder / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{folder}\n")
    forget_reused_number(folder)
    assert not note.exists()
    # One of a process that is gone is PostgreSQL's own affair: it looks for what that has left in memory.
    note.write_text(f"{2**22 + 1}\n{folder}\n")
    forget_reused_number(folder)
    assert note.exists()
