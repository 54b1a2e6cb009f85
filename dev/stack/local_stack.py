"""A whole stack on one machine: PostgreSQL, the simulator, and Airflow's processes, started and stopped together.

Everything listens on loopback or on a Unix socket. Nothing outlives it: not an interrupt, not a start that fails half
way; what a killed stack left behind is ended by the next one in the same folder.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.airflow_home import capillary_connection
from dev.demo.dag_test import airflow
from dev.interrupts import interrupts_held
from dev.postgres import SIGNALS, Postgres
from dev.processes import (
    Processes,
    ProcessesStillThereError,
    end,
    left_over,
)
from dev.simulator_process import (
    SimulatorAccount,
    simulator_command,
    simulator_environment,
    simulator_url,
)
from dev.stack import stack_settings
from dev.stack.airflow_api import AirflowApi
from dev.stack.folder_lock import FolderLock
from dev.stack.prepare_metadata import POOL

DATABASES = ("airflow", "warehouse", "ledger")
API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER = "api-server", "scheduler", "dag-processor", "triggerer"
SIMULATOR, METADATA = "simulator", "metadata"
#: At the same time what stands in one line.
_IN_WHICH_ORDER = ((DAG_PROCESSOR, TRIGGERER, SCHEDULER), (METADATA,), (API_SERVER,), (SIMULATOR,))
WARM_AIRFLOW = (sys.executable, "-m", "dev.stack.warm_airflow")
# The log server would listen on all addresses; here the log files lie where the UI's process reads them itself.
_COMMANDS = {
    API_SERVER: airflow(API_SERVER),
    SCHEDULER: [*WARM_AIRFLOW, SCHEDULER, "--skip-serve-logs"],
    DAG_PROCESSOR: [*WARM_AIRFLOW, DAG_PROCESSOR],
    TRIGGERER: airflow(TRIGGERER, "--skip-serve-logs"),
}
# Without a triggerer all but deferred tasks work: it need not be waited for.
_NEEDED = (SCHEDULER, DAG_PROCESSOR)
SECONDS_TO_START = 300.0
SECONDS_BETWEEN_LOOKS = 0.5

#: Shows what is being done, while it is being done.
Step = Callable[[str], AbstractContextManager[None]]


class StackDidNotStartError(RuntimeError):
    """A process of the stack ended, or was not ready in time; the log that is named says why."""


class LocalStack:
    """A stack with all its files in ``folder``; a later one in the same folder finds its data again.

    Entering it starts PostgreSQL and the simulator, so that the warehouse can be filled; ``start_airflow`` the rest.

    :param dags_folders: where Airflow looks for DAGs
    :param step: shows the steps
    :param durable: ``False``: data need not survive a crash of the machine
    :param ports: ports of Airflow's UI to be tried first
    """

    def __init__(
        self,
        folder: Path,
        dags_folders: Sequence[Path],
        step: Step,
        *,
        durable: bool = True,
        ports: Sequence[int] = (),
    ) -> None:
        self.folder = folder.resolve()
        self.home = self.folder / "airflow"
        self.logs = self.folder / "logs"
        self.reports = self.folder / "reports"
        self.login = stack_settings.USER
        self._dags_folders = tuple(dags_folders)
        self._step = step
        self._ports = tuple(ports)
        self._lock = FolderLock(self.folder)
        self.processes = Processes(self.folder / "processes.json")
        self.postgres = Postgres(self.folder / "postgres", self.logs / "postgres.log", self.processes, durable=durable)
        self.simulator = SimulatorAccount("")
        self.api = AirflowApi("", "", "")
        self.password = ""
        self.command_line = self.folder / "airflow.sh"
        self.taken_port: int | None = None  #: of the UI, where another program has it
        self.began = 0.0

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        for folder in (self.home, self.logs, self.reports):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._end_left_overs()
            with self._step("PostgreSQL"):
                self.postgres.start()
                for database in DATABASES:
                    self.postgres.create_database(database)
            with self._step("Simulator of the Capillary API"):
                self._start_simulator()
        except BaseException:
            self.stop()
            raise
        return self

    def start_airflow(self) -> None:
        """Start Airflow, and return when all of it is at work.

        :raises StackDidNotStartError: it never was
        """
        wanted = (*self._remembered("airflow"), *self._ports)
        port = stack_settings.free_port(*wanted)
        self.taken_port = stack_settings.taken_port(port, wanted)
        self.password = self._password()
        env = stack_settings.environment(
            self.home, self._dags_folders, self.postgres.sqlalchemy_url("airflow"), port, self.reports
        )
        with self._step("Airflow's database"):
            self._prepare_metadata(env)
        self._write_command_line(env)
        with self._step("Airflow"):
            since = datetime.now(UTC)
            for name in (API_SERVER, *_NEEDED):
                self.processes.start(name, _COMMANDS[name], env, self._log_of(name))
            self.api = AirflowApi(env["AIRFLOW__API__BASE_URL"], self.login, self.password)
            components = tuple(name.replace("-", "_") for name in _NEEDED)
            self.wait_until("Airflow is ready", lambda: self.api.healthy(components, since))
        self.processes.start(TRIGGERER, _COMMANDS[TRIGGERER], env, self._log_of(TRIGGERER))
        self._remember("airflow", port)

    def wait_until(
        self,
        what: str,
        is_so: Callable[[], Any],
        seconds: float = SECONDS_TO_START,
        pause: float = SECONDS_BETWEEN_LOOKS,
    ) -> Any:
        """Look again and again until something is so, and give what was found.

        :raises StackDidNotStartError: it was not so in time, or a process of the stack has ended
        """
        deadline = time.monotonic() + seconds
        while not (found := is_so()):
            if ended := self.processes.ended():
                raise StackDidNotStartError(f"{ended} has ended unasked; see {self._log_of(ended)}")
            if time.monotonic() > deadline:
                raise StackDidNotStartError(f"not so after {seconds:.0f} s: {what}; see {self.logs}")
            time.sleep(pause)
        return found

    def stop(self) -> None:
        """End every process that was started here and see that it is gone; a second call does nothing.

        Tasks first, which may want to report to Airflow how far they came; the database last.
        """
        with interrupts_held():
            try:
                if self.processes.started():
                    with self._step("Stopping"):
                        self._stop_processes()
            finally:
                self._stop_processes()  # the terminal may have been closed, and then nothing can be shown
                self.api.close()
                self._lock.give_back()

    def remove(self) -> None:
        """Remove all files of earlier stacks in this folder, after having ended what they left behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._end_left_overs()
            shutil.rmtree(self.folder)
        finally:
            self._lock.give_back()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _stop_processes(self) -> None:
        problems = []
        stops: list[Callable[[], None]] = [partial(self.processes.stop, *names) for names in _IN_WHICH_ORDER]
        for stop in (*stops, self.postgres.stop):
            try:
                stop()
            except ProcessesStillThereError as error:
                problems.append(str(error))  # the others have to end all the same
        if problems:
            raise ProcessesStillThereError("; ".join(problems))

    def _end_left_overs(self) -> None:
        found = left_over(self.folder / "processes.json")
        if found:
            with self._step(f"Ending what an earlier stack left behind: {', '.join(old.name for old in found)}"):
                for old in reversed(found):
                    end([old], SIGNALS.get(old.name, signal.SIGTERM))

    def _start_simulator(self) -> None:
        folder = self.folder / "simulator"
        command = simulator_command(folder, stack_settings.free_port(*self._remembered("simulator")))
        child = self.processes.start(SIMULATOR, command, simulator_environment(), self._log_of(SIMULATOR))
        self.simulator = SimulatorAccount(simulator_url(folder, child, self._log_of(SIMULATOR)))
        self._remember("simulator", int(self.simulator.url.rpartition(":")[2]))

    def _prepare_metadata(self, env: Mapping[str, str]) -> None:
        """Bring Airflow's tables and the sample connections up to date, unless that was done already.

        Only to load Airflow, and find that nothing is to be done, takes ten seconds.
        """
        sources = {
            "capillary_default": (capillary_connection(self.simulator.url), "the simulator of the Capillary API"),
            "warehouse": (self.postgres.airflow_connection("warehouse"), "sample data of the last thirty days"),
            stack_settings.LEDGER_CONN_ID: (self.postgres.airflow_connection("ledger"), "what was sent and granted"),
        }
        connections = {name: {**fields, "description": text} for name, (fields, text) in sources.items()}
        wanted = json.dumps(
            {"airflow": version("apache-airflow-core"), "connections": connections, "pool": POOL}, indent=1
        )
        done, asked = self.home / "prepared.json", self.home / "to_be_prepared.json"
        if done.exists() and done.read_text("utf-8") == wanted and self.postgres.has_table("airflow", "connection"):
            return
        asked.write_text(json.dumps(connections), "utf-8")
        command = [sys.executable, "-m", "dev.stack.prepare_metadata", str(asked)]
        if self.processes.start(METADATA, command, env, self._log_of(METADATA)).wait() != 0:
            raise StackDidNotStartError(f"Airflow's database could not be made; see {self._log_of(METADATA)}")
        self.processes.stop(METADATA)
        asked.replace(done)
        done.write_text(wanted, "utf-8")

    def _write_command_line(self, env: Mapping[str, str]) -> None:
        """Airflow's command line in the surroundings of this stack, for the person who looks at it."""
        set_here = {name: value for name, value in env.items() if os.environ.get(name) != value}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(set_here.items()))
        python = shlex.quote(sys.executable)
        self.command_line.touch(mode=0o700)  # it has the database's address
        self.command_line.write_text(f'#!/bin/sh\n{exports}exec {python} -m airflow "$@"\n', "utf-8")

    def _password(self) -> str:
        """The login's password: made once, kept where Airflow itself looks for it."""
        file = stack_settings.passwords_file(self.home)
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps({self.login: secrets.token_urlsafe(9)}), "utf-8")
        return str(json.loads(file.read_text("utf-8"))[self.login])

    def _log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _remembered(self, name: str) -> list[int]:
        """The port of an earlier stack in this folder: bookmarks and logins outlive it."""
        file = self.folder / f"{name}.port"
        return [int(file.read_text("utf-8"))] if file.exists() else []

    def _remember(self, name: str, port: int) -> None:
        (self.folder / f"{name}.port").write_text(str(port), "utf-8")
