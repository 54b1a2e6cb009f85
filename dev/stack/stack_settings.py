"""The settings of a local stack's Airflow: an environment that no other Airflow on the machine has a part in."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
LEDGER_CONN_ID = "capillary_ledger"
USER = "admin"
VIEWER = "viewer"  #: may look, and change nothing


def environment(
    home: Path, dags_folders: Sequence[Path], database_url: str, port: int, reports: Path
) -> dict[str, str]:
    """The environment of all of a stack's Airflow processes.

    :param port: of UI and API, on loopback
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    url = f"http://{LOOPBACK}:{port}"
    settings = {
        "core": {
            "load_examples": "False",
            "executor": "LocalExecutor",
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{USER}:admin,{VIEWER}:viewer",
            "simple_auth_manager_passwords_file": str(passwords_file(home)),
            "execution_api_server_url": f"{url}/execution/",
            "test_connection": "Enabled",
            "parallelism": "8",
            # The default asks the name server, which may be slow or not there.
            "hostname_callable": "socket.gethostname",
        },
        "dag_processor": {"dag_bundle_config_list": json.dumps(_bundles(dags_folders))},
        "database": {"sql_alchemy_conn": database_url},
        "api": {"host": LOOPBACK, "port": str(port), "base_url": url, "workers": "1"},
        "usage_data_collection": {"enabled": "False"},
        "capillary": {"ledger_conn_id": LEDGER_CONN_ID, "report_path": reports.as_uri()},
    }
    return own | {
        "AIRFLOW_HOME": str(home),
        **_variables(settings),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}",
        **_no_proxy(own),
    }


def passwords_file(home: Path) -> Path:
    """Where the login's password is kept, in Airflow's own format."""
    return home / "simple_auth_manager_passwords.json.generated"


def free_port(*wanted: int) -> int:
    """The first of the wanted ports that is not listened on, else any free one."""
    for port in (*wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a port whose last connections are still winding up is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free port on {LOOPBACK}")


def taken_port(port: int, wanted: Sequence[int]) -> int | None:
    """The port that was wanted most, where another program has it; 0 means any."""
    return wanted[0] if wanted and wanted[0] not in (0, port) else None


def _bundles(folders: Sequence[Path]) -> list[dict[str, object]]:
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return [
        {"name": f"dags-{number}", "classpath": classpath, "kwargs": {"path": str(folder.resolve())}}
        for number, folder in enumerate(folders, start=1)
    ]


def _variables(settings: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"AIRFLOW__{section.upper()}__{name.upper()}": value
        for section, options in settings.items()
        for name, value in options.items()
    }


def _no_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    # Tasks talk to the API server over HTTP: a proxy must not come between them on loopback.
    return {
        name: ",".join(part for part in (environ.get(name), LOOPBACK, "localhost") if part)
        for name in ("no_proxy", "NO_PROXY")
    }
