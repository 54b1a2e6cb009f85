"""Airflow with CeleryExecutor on this machine: PostgreSQL from a wheel, Redis from Debian, workers that may be killed.

Everything has its files in one folder, listens on loopback, and is stopped by its process id.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped] # its stubs are a package of their own
import requests

from dev.airflow_home import capillary_connection
from dev.demo.dag_test import airflow
from dev.many_workers.night import write_dags
from dev.postgres import Postgres
from dev.processes import Processes, Started, family
from dev.simulator_process import (
    SimulatorAccount,
    simulator_command,
    simulator_environment,
    simulator_url,
)
from dev.stack import stack_settings
from dev.stack.airflow_api import AirflowApi
from dev.stack.prepare_metadata import POOL

SECONDS_TO_START = 300.0
SECONDS_BETWEEN_LOOKS = 0.5
API_SERVER, SCHEDULER, DAG_PROCESSOR = "api-server", "scheduler", "dag-processor"
REDIS, SIMULATOR, METADATA, POSTGRES = "redis", "simulator", "metadata", "postgres"
#: What is worth a sentence in docs/scaling.md.
CELERY_SETTINGS = {
    "core": {"executor": "CeleryExecutor"},
    "celery": {"worker_concurrency": "1", "worker_prefetch_multiplier": "1", "task_acks_late": "True"},
    # A worker that died is found out by the heartbeats of its tasks: 30 s here, 300 s by default.
    "scheduler": {"task_instance_heartbeat_timeout": "30", "task_instance_heartbeat_timeout_detection_interval": "5"},
    "workers": {"min_heartbeat_interval": "5"},
    # After this Redis gives a task that was not acknowledged to another worker: longer than any import.
    "celery_broker_transport_options": {"visibility_timeout": "3600"},
}


class CeleryStack:
    """Processes that are started one by one, and stopped all at the end."""

    def __init__(self, folder: Path, parts: tuple[int, ...], settings: Mapping[str, Mapping[str, str]]) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.reports = folder / "reports"
        self.times = folder / "times"
        self.processes = Processes(folder / "processes.json")
        self.postgres = Postgres(folder / "postgres", self.logs / "postgres.log", self.processes, durable=False)
        self.simulator = SimulatorAccount("")
        self.api = AirflowApi("", "", "")
        self._parts = parts
        self._settings = settings
        self._is_celery = "executor" not in settings.get("core", {})
        self._redis_port = stack_settings.free_port()
        self._redis_password = secrets.token_hex(8)
        self._env: dict[str, str] = {}

    # --------------------------------------------------------------------------------------------------------- start

    def start(self, requests_per_minute: int | None) -> None:
        """Start all but the workers."""
        for made in (self.logs, self.reports, self.folder / "airflow", self.folder / "redis"):
            made.mkdir(parents=True)
        write_dags(self.folder / "dags", self._parts)
        self.postgres.start()
        for database in ("airflow", "ledger"):
            self.postgres.create_database(database)
        if self._is_celery:
            self.start_redis()
        self._start_simulator()
        self._start_airflow(requests_per_minute)

    def start_redis(self) -> None:
        """Start Redis, with what an earlier one here has kept, and wait until it answers."""
        config = self.folder / "redis" / "redis.conf"  # not as an argument, which everybody on the machine can see
        config.write_text(f"requirepass {self._redis_password}\n", "utf-8")
        options = ["--port", str(self._redis_port), "--bind", stack_settings.LOOPBACK, "--appendonly", "yes"]
        command = ["redis-server", str(config), *options, "--save", "", "--dir", str(self.folder / "redis")]
        self._start(REDIS, command, {})
        self.wait_until("Redis answers", self._redis_answers)

    def stop_redis(self) -> None:
        """Stop Redis in good order: its clients are cut off."""
        self.processes.stop(REDIS)

    def start_workers(self, *names: str) -> None:
        """Start workers at the same time, and wait until each of them takes tasks."""
        for name in names:
            command = airflow("celery", "worker", "--celery-hostname", f"{name}@localhost", "--skip-serve-logs")
            self._start(name, [*command, "--pid", str(self.folder / f"{name}.pid")], self._env)
        for name in names:
            self.wait_until(f"{name} is ready", partial(self._is_ready, name))

    def stop_worker(self, name: str) -> None:
        """Stop a worker as a person does: it ends what it has begun."""
        self.processes.stop(name)

    def kill_worker(self, name: str) -> None:
        """End a worker and all that it started with SIGKILL, as when its machine dies."""
        members = family(self.worker(name))
        for process in members:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.processes.stop(name)

    def worker(self, name: str) -> Started:
        """A worker that was started."""
        return next(started for started in self.processes.started() if started.name == name)

    def worker_of(self, pid: int, names: tuple[str, ...]) -> str:
        """Which of the workers has a process with this number."""
        [found] = [name for name in names if pid in {process.pid for process in family(self.worker(name))}]
        return found

    def wait_until(self, what: str, is_so: Callable[[], Any], seconds: float = SECONDS_TO_START) -> Any:
        """Look again and again until something is so, and give what was found."""
        deadline = time.monotonic() + seconds
        while not (found := is_so()):
            if ended := self.processes.ended():
                raise AssertionError(f"{ended} has ended unasked: {self._end_of(ended)}")
            assert time.monotonic() < deadline, f"not so after {seconds:.0f} s: {what}\n{self.reported()}"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return found

    def granted(self) -> int:
        """How many badges the simulator has granted since it started."""
        with requests.Session() as session:
            session.trust_env = False
            reply = session.get(f"{self.simulator.url}/simulator/summary", timeout=60)
        reply.raise_for_status()
        return int(reply.json()["grants"])

    def grants(self) -> Iterator[bytes]:
        """What the simulator granted, line by line: a million of them are too many for one answer in memory."""
        with requests.Session() as session:
            session.trust_env = False
            with session.get(f"{self.simulator.url}/simulator/grants", stream=True, timeout=60) as reply:
                reply.raise_for_status()
                yield from (line for line in reply.iter_lines(chunk_size=1 << 20) if line)

    def stop(self) -> None:
        """Stop everything, tasks first and the database last."""
        running = [started.name for started in self.processes.started()]
        core = (API_SERVER, SIMULATOR, REDIS, POSTGRES)
        self.processes.stop(*(name for name in running if name not in core))
        for name in core[:-1]:
            self.processes.stop(name)
        self.postgres.stop()
        self.api.close()

    def reported(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"==> {log} <==\n{_text(log)[-2_000:]}" for log in self._all_logs())

    def logs_of_tasks(self) -> str:
        """All that tasks have logged."""
        return "\n".join(map(_text, sorted(self.folder.glob("airflow/logs/dag_id=*/**/*.log"))))

    # ------------------------------------------------------------------------------------------------------- details

    def _all_logs(self) -> list[Path]:
        return [*sorted(self.logs.glob("*.log")), *sorted(self.folder.glob("airflow/logs/dag_id=*/**/*.log"))]

    def _start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        self.processes.start(name, command, env, self._log_of(name))

    def _log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _end_of(self, name: str) -> str:
        return _text(self._log_of(name))[-3_000:]

    def _is_ready(self, worker: str) -> bool:
        return " ready." in _text(self._log_of(worker))

    def _redis_answers(self) -> bool:
        try:
            with socket.create_connection((stack_settings.LOOPBACK, self._redis_port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._redis_password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as replies:
                    return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def _start_simulator(self) -> None:
        folder = self.folder / "simulator"
        command = simulator_command(folder)
        module = command.index("airflow_provider_capillary.simulator")
        command[module : module + 1] = ["dev.many_workers.timed_simulator", str(self.times)]
        child = self.processes.start(SIMULATOR, command, simulator_environment(), self._log_of(SIMULATOR))
        self.simulator = SimulatorAccount(simulator_url(folder, child, self._log_of(SIMULATOR)))

    def _start_airflow(self, requests_per_minute: int | None) -> None:
        home, port = self.folder / "airflow", stack_settings.free_port()
        database = self.postgres.sqlalchemy_url("airflow")
        env = stack_settings.environment(home, [self.folder / "dags"], database, port, self.reports)
        redis = f"redis://:{self._redis_password}@{stack_settings.LOOPBACK}:{self._redis_port}/0"
        self._env = env | _variables(self._settings)
        if self._is_celery:
            self._env |= _variables(CELERY_SETTINGS)
            self._env |= {"AIRFLOW__CELERY__BROKER_URL": redis, "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}"}
        password = secrets.token_urlsafe(9)
        stack_settings.passwords_file(home).write_text(json.dumps({stack_settings.USER: password}), "utf-8")
        self._prepare_metadata(requests_per_minute)
        since = datetime.now(UTC)
        for name in (API_SERVER, SCHEDULER, DAG_PROCESSOR):
            self._start(name, airflow(name, *(["--skip-serve-logs"] if name == SCHEDULER else [])), self._env)
        self.api = AirflowApi(env["AIRFLOW__API__BASE_URL"], stack_settings.USER, password)
        self.wait_until("Airflow is ready", lambda: self.api.healthy(("scheduler", "dag_processor"), since))
        self.api.patch(f"pools/{POOL}", {"name": POOL, "slots": max(self._parts), "include_deferred": False})

    def _prepare_metadata(self, requests_per_minute: int | None) -> None:
        capillary = capillary_connection(self.simulator.url)
        capillary["extra"] = {**capillary["extra"], "requests_per_minute": requests_per_minute}
        connections = {
            "capillary_default": capillary,
            "warehouse": self.postgres.airflow_connection("ledger"),  # the query needs no tables
            stack_settings.LEDGER_CONN_ID: self.postgres.airflow_connection("ledger"),
        }
        asked = self.folder / "connections.json"
        asked.write_text(json.dumps(connections), "utf-8")
        command = [sys.executable, "-m", "dev.stack.prepare_metadata", str(asked)]
        made = self.processes.start(METADATA, command, self._env, self._log_of(METADATA))
        assert made.wait(SECONDS_TO_START) == 0, self._end_of(METADATA)
        self.processes.stop(METADATA)


def _text(log: Path) -> str:
    return log.read_text("utf-8", "replace")


def _variables(settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"AIRFLOW__{section.upper()}__{name.upper()}": value
        for section, options in settings.items()
        for name, value in options.items()
    }


@contextmanager
def celery_stack(
    folder: Path,
    parts: tuple[int, ...],
    requests_per_minute: int | None,
    settings: Mapping[str, Mapping[str, str]],
) -> Iterator[CeleryStack]:
    """A stack in ``folder``, which is removed with it."""
    stack = CeleryStack(folder, parts, settings)
    try:
        stack.start(requests_per_minute)
        yield stack
    finally:
        started = stack.processes.started()
        stack.stop()
        left = [str(process) for one in started for process in family(one)]
        assert left == [], left
        shutil.rmtree(folder)


def enough_redis() -> bool:
    """Whether Debian's Redis is here."""
    return shutil.which("redis-server") is not None
