"""Lists the tools that are compared, and the environment of each."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Contestant:
    """A script, what it is given besides dataset, address and batch size, and the packages of its environment.

    ``resumes`` says how it begins again after it was killed: with the state that it left, or from the start.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  #: none: the environment of this project
    resumes: bool = False
    keeps_account: bool = True  #: reports to its user which rows it takes for imported


HTTP_HOOK = "Airflow HttpHook loop"
OURS_SQLITE = "this package, SQLite ledger"
OURS_POSTGRES = "this package, PostgreSQL ledger"
_DLT = ("dlt==1.31.0", "pyarrow==26.0.1", "requests==2.34.2")

CONTESTANTS = (
    Contestant(OURS_SQLITE, "ours.py", ("", "4"), resumes=True),
    Contestant(OURS_POSTGRES, "ours.py", ("{postgres}", "4"), resumes=True),
    Contestant("this package without Airflow", "without_airflow.py", keeps_account=False),
    Contestant(HTTP_HOOK, "http_hook.py"),
    Contestant("dlt, Arrow", "dlt_destination.py", ("arrow",), _DLT, resumes=True),
    Contestant("dlt, rows", "dlt_destination.py", ("rows",), _DLT, resumes=True),
    Contestant("Singer BatchSink", "singer_sink.py", (), ("singer-sdk==0.54.9", "pyarrow==26.0.1", "requests==2.34.2")),
    Contestant("drt rest_api", "drt_rest.py", (), ("drt-core[duckdb]==1.2.1",)),
    Contestant("bare requests", "bare_requests.py", keeps_account=False),
    Contestant("bare http.client", "bare_http_client.py", keeps_account=False),
)


def interpreter(contestant: Contestant, folder: Path) -> Path:
    """The Python of the contestant's environment, which is made where it is not there yet."""
    if not contestant.packages:
        return Path(sys.executable)
    home = folder / contestant.packages[0].partition("==")[0].partition("[")[0]
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        sys.stdout.write(f"making the environment of {contestant.name} ...\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *contestant.packages]
        if subprocess.run(uv, check=False).returncode:  # uv does not read pip.conf
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *contestant.packages], check=True)
        (home / ".ready").touch()
    return python


def command(
    contestant: Contestant, python: Path, dataset: Path, api: str, batch_size: int, state: Path, postgres: str
) -> list[str]:
    """How to start it."""
    more = [argument.format(postgres=postgres) for argument in contestant.arguments]
    script = SCRIPTS / contestant.script
    return [str(python), str(script), str(dataset), api, str(batch_size), str(state), *more]


def environment(state: Path) -> dict[str, str]:
    """What it sees of this process' environment, and a home of its own."""
    # As installed: no contestant's modules are compiled anew in every process.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = {
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",  # installed for the tests; no other contestant reports lineage
    }
    return inherited | quiet | {"AIRFLOW_HOME": str(state / "airflow"), "PYTHONPATH": str(ROOT)}
