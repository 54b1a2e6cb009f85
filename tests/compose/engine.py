"""The Docker engine: the one that runs here, or one of our own, in a folder of our own, for as long as we need it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import CommandFailedError, run, tell, wait_for

#: Debian packages that are installed where a program is missing.
PACKAGES = {"dockerd": "docker.io", "docker-compose": "docker-compose", "debootstrap": "debootstrap"}


def install_what_is_missing() -> None:
    """Install Debian packages, which needs root."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing:
        tell(f"installing {' '.join(missing)}")
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=env)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, "iptables"], env=env)


@contextmanager
def engine(folder: Path) -> Iterator[dict[str, str]]:
    """Give the environment in which ``docker`` finds an engine."""
    if _answers(dict(os.environ)):
        tell("using the Docker engine that runs here")
        yield dict(os.environ)
        return
    folder.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
    tell("starting a Docker engine")
    options = ["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    with (folder / "log").open("wb") as log:
        command = ["dockerd", *map(str, options), "--host", env["DOCKER_HOST"]]
        # a group of its own: Ctrl-C is for us, who then stop the containers first
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"the Docker engine (see {folder / 'log'})", 60, lambda: _answers(env))
        yield env
    finally:
        tell("stopping the Docker engine")
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(120)


def _answers(env: dict[str, str]) -> bool:
    try:
        run(["docker", "version"], env=env)
    except CommandFailedError:
        return False
    return True
