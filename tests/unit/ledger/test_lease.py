"""A process is taken for dead only where that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_capillary.ledger import lease
from airflow_provider_capillary.ledger.lease import is_certainly_dead, this_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process is ever taken for dead")


def test_this_process_lives_under_one_name() -> None:
    assert this_process() == this_process()
    assert f"/{os.getpid()}/" in this_process()
    assert not is_certainly_dead(this_process())


def test_a_killed_process_is_dead_before_its_parent_looks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    machine, _, _ = this_process().split("/")
    with open(f"/proc/{child.pid}/stat") as status:
        start_time = status.read().rpartition(")")[2].split()[19]
    name = f"{machine}/{child.pid}/{start_time}"
    assert not is_certainly_dead(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still a zombie
    assert is_certainly_dead(name)
    child.communicate()
    assert is_certainly_dead(name)


def test_a_reused_number_is_another_process() -> None:
    machine, number, start_time = this_process().split("/")
    assert is_certainly_dead(f"{machine}/{number}/{int(start_time) + 1}")


@pytest.mark.parametrize(
    "name",
    ["another-boot.4026531836/1/1", "unknown/1/1", "", "no structure", "{machine}/x/1", "{machine}/1/unknown"],
)
def test_remote_and_unreadable_names_prove_nothing(name: str) -> None:
    assert not is_certainly_dead(name.format(machine=this_process().split("/")[0]))


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """``/proc`` shows no other process than this one, as to another user where it is mounted with ``hidepid``."""
    read = Path.read_text

    def read_text(path: Path, *arguments: Any, **named: Any) -> str:
        if path.match("/proc/[0-9]*/stat"):
            raise FileNotFoundError(path)
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", read_text)


@pytest.mark.usefixtures("hidden")
def test_a_hidden_process_is_not_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    name = f"{this_process().split('/')[0]}/{child.pid}/123"
    assert not is_certainly_dead(name)
    child.kill()
    child.communicate()
    assert is_certainly_dead(name)  # no process has its number


@pytest.mark.parametrize("unreadable", ["/proc/self/ns/pid", "boot id"])
def test_unnamed_machines_have_no_dead_process(monkeypatch: pytest.MonkeyPatch, unreadable: str) -> None:
    stat = os.stat
    if unreadable == "boot id":
        monkeypatch.setattr(lease, "boot_id", lambda: None)
    else:

        def fail(path: Any, *arguments: Any, **named: Any) -> Any:
            if path == unreadable:
                raise PermissionError(path)
            return stat(path, *arguments, **named)

        monkeypatch.setattr(os, "stat", fail)
    machine, *_ = this_process().split("/")
    assert "unknown" in machine
    assert not is_certainly_dead(f"{machine}/{2**22 + 1}/1")


def test_another_namespaces_proc_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, number, start_time = this_process().split("/")
    monkeypatch.setattr(os, "readlink", lambda path: "1")
    assert this_process() == f"{machine}/{number}/unknown"
    assert not is_certainly_dead(f"{machine}/{number}/{int(start_time) + 1}")
