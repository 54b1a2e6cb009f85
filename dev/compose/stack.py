"""The stack of ``docker-compose.yaml``: brought up with secrets of its own, looked at, and brought down."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .commands import run, say, wait_for
from .stand_ins import ROOT

PROJECT = "capillary_compose_test"
MINUTES_TO_GET_WELL = 10


class Stack:
    """A running stack. ``ui`` is its only door; the rest is looked at through ``docker-compose exec``."""

    def __init__(self, env_file: Path, env: Mapping[str, str]) -> None:
        self._env_file = env_file
        self._env = env
        self.ui = f"http://127.0.0.1:{env['UI_PORT']}"
        self.admin_password = _settings(env_file)["ADMIN_PASSWORD"]

    def compose(self, *arguments: str) -> str:
        """Run ``docker-compose`` for this stack."""
        options = ["--project-name", PROJECT, "--project-directory", str(ROOT), "--env-file", str(self._env_file)]
        return run(["docker-compose", *options, "--file", str(ROOT / "docker-compose.yaml"), *arguments], env=self._env)

    def inside(self, service: str, *command: str) -> str:
        """Run a program in the container of a service."""
        return self.compose("exec", "-T", service, *command)

    def simulator_summary(self) -> dict[str, Any]:
        """What the simulator granted since it started."""
        reported = self.inside("simulator", "curl", "--silent", "--fail", "http://localhost:8080/simulator/summary")
        summary: dict[str, Any] = json.loads(reported)
        return summary

    def all_well(self) -> bool:
        """Whether every service that has a health check is healthy."""
        health = self.health()
        return len(health) == len(self._services()) and all(state == "healthy" for state in health.values())

    def health(self) -> dict[str, str]:
        """What each service's health check says; those that have none, how they ended."""
        mine = f"label=com.docker.compose.project={PROJECT}"
        ids = run(["docker", "ps", "--all", "--quiet", "--filter", mine], env=self._env).split()
        found = json.loads(run(["docker", "inspect", *ids], env=self._env)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: _health(one["State"]) for one in found}

    def _services(self) -> list[str]:
        return self.compose("config", "--services").split()


@contextmanager
def running_stack(folder: Path, env: Mapping[str, str]) -> Iterator[Stack]:
    """Build, start and wait until all is well; at the end nothing of it is left, not even its volumes."""
    env_file = folder / "env"
    env_file.write_text(_secrets(), encoding="utf-8")
    stack = Stack(env_file, {**env, "UI_PORT": str(_free_port()), "COMPOSE_HTTP_TIMEOUT": "300"})
    stack.compose("config", "--quiet")  # a file that cannot be read could not be brought down either
    try:
        say("building the image with the provider")
        stack.compose("build")
        say("starting the stack")
        stack.compose("up", "--detach")
        try:
            wait_for("all services healthy", MINUTES_TO_GET_WELL * 60, stack.all_well)
        finally:
            say(f"health: {stack.health()}")
        say(f"all services are healthy, UI on {stack.ui}")
        yield stack
    except BaseException:
        (folder / "logs.txt").write_text(stack.compose("logs", "--no-color"), encoding="utf-8")
        say(f"logs of all services: {folder / 'logs.txt'}")
        raise
    finally:
        say("bringing the stack down")
        stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "30")
        _nothing_is_left(env)


def _nothing_is_left(env: Mapping[str, str]) -> None:
    mine = f"label=com.docker.compose.project={PROJECT}"
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        left = run(["docker", *kind, "--quiet", "--filter", mine], env=env).split()
        assert not left, f"docker {kind[0]} still lists {left}"


def _health(state: Mapping[str, Any]) -> str:
    if "Health" in state:
        return str(state["Health"]["Status"])
    # the one that sets all up has no health check: it ends
    ended_well = state["Status"] == "exited" and state["ExitCode"] == 0
    return "healthy" if ended_well else f"{state['Status']} {state['ExitCode']}"


def _secrets() -> str:
    names = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD")
    lines = [f"{name}={secrets.token_hex(24)}" for name in names]
    simulator = secrets.token_hex(16)
    lines += [
        f"FERNET_KEY={base64.urlsafe_b64encode(os.urandom(32)).decode()}",
        f"SIMULATOR_PASSWORD={simulator}",
        "CAPILLARY_CONNECTION="
        f"capillary://till.001:{simulator}@simulator:8080/http?allow_http=true&organisation=sample",
    ]
    return "\n".join(lines) + "\n"


def _settings(env_file: Path) -> dict[str, str]:
    lines = env_file.read_text("utf-8").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
