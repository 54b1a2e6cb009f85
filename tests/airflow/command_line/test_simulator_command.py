"""``airflow capillary simulator``, and what Airflow's command line loads before any command is chosen."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path

from dev.demo.dag_test import airflow

from ..conftest import AirflowProcess
from .conftest import Commands, Run


def test_both_command_lines_have_the_same_options() -> None:
    from airflow_provider_capillary.cli.options import SIMULATOR_OPTIONS, SIMULATOR_SWITCHES
    from airflow_provider_capillary.simulator.command_line import add_arguments

    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    own = {action.option_strings[0]: action.nargs == 0 for action in parser._actions}
    assert own == dict.fromkeys(SIMULATOR_OPTIONS, False) | dict.fromkeys(SIMULATOR_SWITCHES, True)


def test_wrong_simulator_options_are_wrong_use(run: Run) -> None:
    assert run("simulator", "--port", "many", books=False).code == 2
    assert run("simulator", "--faults", "/none/such.json", books=False).code == 2


def test_the_simulator_serves_until_sigterm(airflow_process: AirflowProcess, tmp_path: Path) -> None:
    port_file, faults = tmp_path / "port", tmp_path / "faults.json"
    faults.write_text('{"faults": [{"kind": "status", "status": 503, "operation": "lookup"}]}')
    words = ("simulator", "--port", "0", "--port-file", str(port_file), "--faults", str(faults), "--latency", "1")
    env = {**os.environ, "AIRFLOW_HOME": str(airflow_process.home)}
    command = airflow("capillary", *words, "--sink")
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline()  # once it answers
            url = f"http://127.0.0.1:{port_file.read_text()}"
            with urllib.request.urlopen(f"{url}/simulator/summary", timeout=10) as reply:
                reported = json.load(reply)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
    assert (reported["grants"], reported["distinct"]) == (0, None)  # counted only
    assert [fault["kind"] for fault in reported["faults"]] == ["status"]
    assert (process.returncode, printed) == (0, f"Capillary simulator on {url}\n")


def test_airflow_s_command_line_loads_the_names_of_commands_only(commands: Commands) -> None:
    datasets = ("datasets", "datasets.formats")
    options = ("cli", "cli.definition", "cli.options", "core", "core.given_values", *datasets, "exceptions")
    names = sorted((*options, "get_provider_info", "hooks"))
    assert commands.loaded == [f"airflow_provider_capillary.{name}" for name in names]
