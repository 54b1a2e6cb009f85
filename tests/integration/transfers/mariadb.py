"""A MariaDB server of one's own: Debian's, in a folder, reached by a socket, gone with the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql  # type: ignore[import-untyped]
from airflow.providers.common.sql.hooks.sql import DbApiHook
from pymysql.cursors import SSCursor  # type: ignore[import-untyped]

from dev.processes import child_process
from tests.debian_programs import PATH

#: Which package of Debian's has which program.
PROGRAMS = {
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client",
}
_PATIENCE = 60.0


@contextmanager
def mariadb_server() -> Iterator[Path]:
    """Start a server; give its socket, whose path must be short."""
    with tempfile.TemporaryDirectory(prefix="capillary-mariadb-") as folder:
        root = Path(folder)
        common = ["--no-defaults", f"--datadir={root / 'data'}"]
        as_root = ["--user=root"] if os.geteuid() == 0 else []
        install = shutil.which("mariadb-install-db", path=PATH) or ""
        subprocess.run(
            [install, *common, *as_root, "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True,
            capture_output=True,
        )
        socket = root / "socket"
        server = shutil.which("mariadbd", path=PATH) or ""
        command = [server, *common, *as_root, f"--socket={socket}", "--skip-networking"]
        with child_process(command, os.environ, root / "log") as process:
            _await(process, socket, root / "log")
            yield socket


def _await(process: subprocess.Popen[bytes], socket: Path, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if not socket.exists():
            time.sleep(0.05)
            continue
        with suppress(pymysql.err.OperationalError), closing(pymysql.connect(unix_socket=str(socket), user="root")):
            return
    raise RuntimeError(f"mariadbd did not start: {log.read_text(errors='replace')[-2_000:]}")


class MariaDbHook(DbApiHook):
    """A hook as Airflow's for MySQL, over a driver that needs no compiler: the host is the socket."""

    conn_name_attr = "mysql_conn_id"
    default_conn_name = "mysql_default"
    conn_type = "mysql"

    def get_conn(self) -> Any:
        """A connection of the driver, whose cursors stream where the extra says ``{"cursor": "sscursor"}``."""
        connection = self.get_connection(self.get_conn_id())
        streams = connection.extra_dejson.get("cursor") == "sscursor"
        return pymysql.connect(
            unix_socket=connection.host,
            user=connection.login,
            database=connection.schema,
            cursorclass=SSCursor if streams else pymysql.cursors.Cursor,
        )
