"""A ledger behind a real pgbouncer, whose server connections change owners after each transaction."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_provider_capillary.exceptions import CapillaryError
from airflow_provider_capillary.simulator.server import RunningSimulator
from dev.processes import child_process
from tests.debian_programs import need

from .backends import PostgresBackend
from .office import ROWS, Office

POOL = 2
SETTINGS = """\
[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {pool}
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(program: str, server: Any, folder: Path, mode: str) -> Iterator[str]:
    """Serve a new database of the server on a loopback port; give its address."""
    database = server.create_database()
    host = psycopg.conninfo.conninfo_to_dict(server.uri_of(database))["host"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    owner = Path(str(host)).stat()  # pgbouncer does not run as root, nor does the server
    (folder / "settings").write_text(SETTINGS.format(host=host, port=port, mode=mode, pool=POOL, folder=folder))
    os.chown(folder, owner.st_uid, owner.st_gid)
    user = pwd.getpwuid(owner.st_uid).pw_name if os.geteuid() == 0 else None
    command = [program, "-q", "settings"]
    with child_process(command, os.environ, folder / "output", user=user, folder=folder) as process:
        await_answer(process, port)
        yield f"postgresql://postgres@127.0.0.1:{port}/{database}"


def await_answer(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "pgbouncer ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("pgbouncer does not answer")


@pytest.fixture
def office(
    request: pytest.FixtureRequest,
    postgres_server: Any,
    start_capillary_simulator: Callable[..., RunningSimulator],
) -> Iterator[Office]:
    program = need("pgbouncer", package="pgbouncer")
    # not under pytest's own folder, where another user may not enter
    with (
        tempfile.TemporaryDirectory(prefix="capillary-pgbouncer-") as folder,
        pgbouncer(program, postgres_server, Path(folder), request.param) as url,
    ):
        backend = PostgresBackend(url)
        yield Office(backend, start_capillary_simulator())
        backend.close()


@pytest.mark.parametrize("office", ["transaction"], indirect=True)
def test_transaction_mode_grants_each_row_once(office: Office) -> None:
    rows: list[dict[str, Any]] = [
        {**row, "customerId": 9_000_000 + 100 * number + place}
        for number in range(25)
        for place, row in enumerate(ROWS)
    ]
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(office.run, name, rows=rows, batch_size=20, concurrency=3) for name in ("one", "two")]
        results = [job.result(120) for job in jobs]
    for result in results:
        assert result.summary.rows_read == len(rows)
        assert result.summary.rejected == result.summary.unknown == 0
    assert sum(result.summary.accepted for result in results) == len(rows)
    last = office.run("three", rows=rows)
    assert (last.error, last.summary.already_accepted) == (None, len(rows))
    granted = Counter(grant.customer_id for grant in office.simulator.store.grants())
    assert granted == {row["customerId"]: 1 for row in rows}


@pytest.mark.parametrize("office", ["statement"], indirect=True)
def test_statement_mode_is_refused_before_anything_is_sent(office: Office) -> None:
    with pytest.raises(CapillaryError, match=r"statement|transaction"):
        office.run("one")
    assert len(office.simulator.store) == 0
    assert not office.simulator.simulator.request_counts()
