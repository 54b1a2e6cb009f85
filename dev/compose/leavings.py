"""Removes what a Docker engine leaves on a machine when it ends: mounts, a bridge, rules of the packet filter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .commands import CommandFailedError, run

TABLES = ("filter", "nat", "raw", "mangle")
BRIDGE = "docker0"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@contextmanager
def network_as_before() -> Iterator[None]:
    """Take back what an engine changes in the machine's network, once it has ended."""
    rules = {table: _rules(table) for table in TABLES}
    had_bridge, forwarding = _has_bridge(), FORWARDING.read_text("ascii")
    try:
        yield
    finally:
        for table in TABLES:
            _take_back(table, rules[table])
        if not had_bridge and _has_bridge():
            run(["ip", "link", "delete", BRIDGE])
        FORWARDING.write_text(forwarding, "ascii")


def _take_back(table: str, before: Sequence[str]) -> None:
    """Delete only what came: rules that others have added meanwhile, to chains of their own, stay."""
    new = [line for line in _rules(table) if line not in before]
    chains = [line.split()[1] for line in new if line.startswith("-N ")]
    for line in new:
        words = line.split()
        if words[0] == "-A" and ("DOCKER" in line or BRIDGE in line):
            with suppress(CommandFailedError):  # an equal rule was deleted in its place
                run(["iptables", "-t", table, "-D", *words[1:]])
    for chain in chains:
        if chain.startswith("DOCKER"):
            run(["iptables", "-t", table, "-X", chain])
    for line in before:
        if line.startswith("-P ") and line not in _rules(table):
            run(["iptables", "-t", table, *line.split()])


def _rules(table: str) -> list[str]:
    """Policies, chains and rules, as ``iptables`` itself would take them."""
    return run(["iptables", "-t", table, "-S"]).splitlines()


def _has_bridge() -> bool:
    return Path("/sys/class/net", BRIDGE).exists()


def remove_folder(folder: Path, but: Sequence[str] = ()) -> None:
    """Remove a folder in which an engine had its files, and see that it is gone."""
    for mount in sorted(_mounts_in(folder), reverse=True):  # the inner ones first
        run(["umount", mount])
    for path in folder.iterdir():
        if path.name not in but:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _mounts_in(folder: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
    return [place for place in places if Path(place).is_relative_to(folder)]
