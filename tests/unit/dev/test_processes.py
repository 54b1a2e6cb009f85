"""What was started is stopped, with all that it started, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped] # its stubs are a package of their own
import pytest

from dev import processes as manager
from dev.processes import Processes, Started, child_process, end, family, left_over

# It starts another one, says its number, and waits; the other one leaves the process group, as Airflow's tasks do.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], preexec_fn=lambda: __import__("os").setpgid(0, 0))
print(child.pid, flush=True)
time.sleep(60)
"""
WAITS = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    started = Processes(tmp_path / "record")
    yield started
    started.stop(*(process.name for process in started.started()), number=signal.SIGKILL)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    other = subprocess.Popen([sys.executable, "-c", WAITS])
    yield other
    assert other.poll() is None, "another person's process was ended"
    other.kill()
    other.wait()


def parent_and_child(processes: Processes, log: Path, child: str = WAITS) -> tuple[Started, int]:
    processes.start("parent", [sys.executable, "-c", PARENT, child], os.environ, log)
    until(lambda: log.read_text().endswith("\n"))
    [started] = processes.started()
    return started, int(log.read_text().split()[0])


def lives(pid: int) -> bool:
    return bool(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("everyone", [True, False])
def test_stopping_ends_children_and_no_others(
    processes: Processes, bystander: subprocess.Popen[bytes], tmp_path: Path, everyone: bool
) -> None:
    started, child = parent_and_child(processes, tmp_path / "log")
    if not everyone:
        os.kill(child, signal.SIGTERM)  # whose parent sees to it
    processes.stop("parent", everyone=everyone)
    assert family(started) == []
    assert not lives(started.pid)
    assert not lives(child)
    assert processes.started() == left_over(tmp_path / "record") == []


def test_a_process_is_signalled_whatever_its_childs_number(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "another"):
        processes.start(name, [sys.executable, "-c", WAITS], os.environ, tmp_path / name)
    child, leader = sorted(processes.started(), key=lambda each: each.pid)
    # As if it had started the other one after the numbers began again; a test cannot make them begin again.
    members = [psutil.Process(child.pid), psutil.Process(leader.pid)]
    monkeypatch.setattr(manager, "_session", lambda number: members)
    assert [process.pid for process in family(leader)] == [leader.pid, child.pid]


def test_a_deaf_process_is_killed(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "SECONDS_TO_STOP", 0.2)
    log = tmp_path / "log"
    child = processes.start("deaf", [sys.executable, "-c", DEAF], os.environ, log)
    until(lambda: log.read_text() == "deaf\n")
    processes.stop("deaf")
    assert child.returncode == -signal.SIGKILL


def test_without_the_record_processes_are_stopped(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    processes = Processes(tmp_path / "gone" / "record")
    child = processes.start("ours", [sys.executable, "-c", WAITS], os.environ, tmp_path / "log")
    shutil.rmtree(tmp_path / "gone")
    processes.stop("ours")
    assert child.returncode == -signal.SIGTERM
    assert processes.started() == []


def test_a_killed_parents_child_is_found_and_ended(
    processes: Processes, bystander: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started, child = parent_and_child(processes, tmp_path / "log")
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert left_over(tmp_path / "record") == [started]
    assert [process.pid for process in family(started)] == [child]
    end(left_over(tmp_path / "record"))
    assert not lives(child)


def test_a_reused_process_number_is_spared(
    processes: Processes, bystander: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    processes.start("ours", [sys.executable, "-c", WAITS], os.environ, tmp_path / "log")
    [ours] = processes.started()
    hours_ago = psutil.Process(bystander.pid).create_time() - 7_200
    reused = msgspec.structs.replace(ours, pid=bystander.pid, began=hours_ago)
    before_reboot = msgspec.structs.replace(ours, machine="another boot")
    (tmp_path / "old").write_bytes(msgspec.json.encode([reused, before_reboot]))
    assert left_over(tmp_path / "old") == []
    end([reused, before_reboot])
    assert lives(ours.pid)


@pytest.mark.parametrize("content", [b"", b"[{", b"[{}]", b'{"pid": 1}'])
def test_a_record_that_cannot_be_read_names_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    assert left_over(tmp_path / "record") == []
    assert left_over(tmp_path / "none") == []


def test_a_process_that_ended_is_named(processes: Processes, tmp_path: Path) -> None:
    processes.start("stays", [sys.executable, "-c", WAITS], os.environ, tmp_path / "log")
    assert processes.ended() is None
    processes.start("goes", [sys.executable, "-c", ""], os.environ, tmp_path / "log").wait()
    assert processes.ended() == "goes"


def test_a_terminals_ctrl_c_does_not_arrive(processes: Processes, tmp_path: Path) -> None:
    child = processes.start("ours", [sys.executable, "-c", WAITS], os.environ, tmp_path / "log")
    assert os.getpgid(child.pid) != os.getpgrp()
    assert os.getsid(child.pid) == child.pid


def test_a_child_is_stopped_by_an_interrupt(tmp_path: Path) -> None:
    started = []

    def interrupted() -> None:
        with child_process([sys.executable, "-c", WAITS], os.environ, tmp_path / "log") as child:
            started.append(child)
            assert child.poll() is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert started[0].poll() == -signal.SIGTERM


def test_a_childs_output_is_in_its_log(tmp_path: Path) -> None:
    with child_process([sys.executable, "-c", "print('well')"], os.environ, tmp_path / "logs" / "a.log") as child:
        assert child.wait(30) == 0
    assert (tmp_path / "logs" / "a.log").read_text() == "well\n"
