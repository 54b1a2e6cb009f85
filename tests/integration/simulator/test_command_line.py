from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

BADGES = "/api_gateway/v1/badges/badgeMeta"
COMMAND = [sys.executable, "-m", "airflow_provider_capillary.simulator"]


def test_options_are_served_until_sigterm(tmp_path: Path) -> None:
    badges, customers, faults, port_file = (tmp_path / name for name in ("b.json", "c.json", "f.json", "port"))
    badges.write_text(json.dumps(["654e08f2041fd452b3ef5b2e", {"id": "0" * 24, "name": "Gold"}]))
    customers.write_text(json.dumps([{"id": 7, "mobile": "91911"}]))
    faults.write_text(json.dumps({"faults": [{"kind": "status", "status": 503, "operation": "badge", "numbers": [1]}]}))
    options = ["--badges", badges, "--customers", customers, "--faults", faults, "--port-file", port_file]
    auth = ("t", "202cb962ac59075b964b07152d234b70")  # the documented MD5 of 123
    more = ["--username", "t", "--password", "123", "--zone", "Asia/Kolkata"]
    with subprocess.Popen([*COMMAND, *map(str, options), *more], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        assert line == f"Capillary simulator on http://127.0.0.1:{port_file.read_text()}\n"
        listed = requests.get(url + BADGES, auth=auth, timeout=20).json()["data"]["metaBasicDetails"]
        assert [(badge["id"], badge["name"]) for badge in listed][1] == ("0" * 24, "Gold")
        assert requests.get(f"{url}{BADGES}/{'0' * 24}", auth=auth, timeout=20).status_code == 503
        lookup = {"identifierName": "mobile", "identifierValue": "91911"}
        found = requests.get(f"{url}/v2/customers/lookup", params=lookup, auth=auth, timeout=20)
        assert found.json()["entity"] == 7
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zone", "Mars/Olympus"], "Mars/Olympus"),
        (["--methods", "PATCH"], "PATCH"),
        (["--badges", "missing.json"], "missing.json"),
    ],
)
def test_a_wrong_option_ends_with_2(tmp_path: Path, options: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_fault_plan_ends_with_2(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"faults": [{"kind": "sabotage"}]}')
    done = subprocess.run([*COMMAND, "--faults", plan], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "sabotage" in done.stderr
