"""The Docker engine: the one that runs here, or one of our own, in a folder of our own, for as long as we need it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.processes import Processes

from .commands import CommandFailedError, run, say, wait_for
from .leavings import network_as_before

#: Debian packages that are installed where a program is missing.
PACKAGES = {"dockerd": "docker.io", "docker-compose": "docker-compose", "iptables": "iptables"}
PACKAGES_FOR_STAND_INS = {"debootstrap": "debootstrap"}
SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 120.0


def install_what_is_missing(*, stand_ins: bool) -> None:
    """Install Debian packages, which needs root."""
    wanted = {} if _usable_as_it_is() else PACKAGES
    wanted = wanted | (PACKAGES_FOR_STAND_INS if stand_ins else {})
    missing = sorted({package for program, package in wanted.items() if shutil.which(program) is None})
    if os.geteuid() != 0 and (missing or stand_ins or wanted):
        sys.exit(
            "Neither a Docker engine nor images can be had without root here. Run it as root, or start an engine, "
            "let this user have it, and give --pull."
        )
    if missing:
        if shutil.which("apt-get") is None:
            sys.exit(f"Missing: {', '.join(missing)}, and this is no Debian that could install them.")
        say(f"installing Debian's {' '.join(missing)} (they stay)")
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=env)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=env)


def _usable_as_it_is() -> bool:
    return shutil.which("docker-compose") is not None and _answers(dict(os.environ))


@contextmanager
def engine(folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which ``docker`` finds an engine."""
    if _answers(dict(os.environ)):
        say("using the Docker engine that runs here")
        yield dict(os.environ)
        return
    folder.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
    say("starting a Docker engine")
    options = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    processes = Processes()
    with network_as_before():
        try:
            command = ["dockerd", *map(str, options), "--host", env["DOCKER_HOST"]]
            processes.start("dockerd", command, env, folder / "log")
            wait_for(f"the Docker engine (see {folder / 'log'})", SECONDS_TO_START, lambda: _answers(env))
            yield env
        finally:
            say("stopping the Docker engine")
            processes.stop("dockerd", everyone=False, seconds=SECONDS_TO_STOP)


def _answers(env: dict[str, str]) -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        run(["docker", "version"], env=env)
    except CommandFailedError:
        return False
    return True
