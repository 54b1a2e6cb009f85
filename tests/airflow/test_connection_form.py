"""The connection form and its *Test*, through a real API server, and through a worker where Airflow has that."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_capillary.get_provider_info import get_provider_info
from airflow_provider_capillary.hooks.connection import ConnectionFields, connection_settings
from airflow_provider_capillary.simulator.server import RunningSimulator, running_simulator

from .line_process import LineProcess

SERVER = Path(__file__).with_name("connection_server.py")
#: With characters that an Airflow URI, JSON and HTTP each write in another way.
LOGIN, PASSWORD = "kestrel till@1", 'p@ss:w/rd?#%&+ "é"-Kestrel'
DIGEST = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
HEADER = base64.b64encode(f"{LOGIN}:{DIGEST}".encode()).decode()
MASK = "***"

pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


class ApiServer:
    """Airflow's API as its own form uses it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a" * 64,
            "PYTHONWARNINGS": "always",
        }
        self._process = LineProcess(SERVER, own | settings, home / "server.log")
        self.log = self._process.log
        reported = self._process.next_line()
        self.url, self.tests_on_workers = reported["url"], reported["on_workers"]
        self._session = requests.Session()
        self._session.trust_env = False
        token = self.ask("GET", "/auth/token")["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One call, which must succeed."""
        reply = self._session.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)
        assert reply.ok, (reply.status_code, reply.text, self.log.read_text()[-3_000:])
        return reply.json()

    def tested_here(self, fields: dict[str, Any]) -> tuple[bool, str]:
        """The API server's own test."""
        reported = self.ask("POST", "/api/v2/connections/test", fields)
        return reported["status"], reported["message"]

    def tested_by_a_worker(self, fields: dict[str, Any], **chosen: Any) -> tuple[bool, str]:
        """A worker's test, handed to it as a scheduler does."""
        token = self.ask("POST", "/api/v2/connections/enqueue-test", fields | chosen)["token"]
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            [(found,)] = database.execute("SELECT id FROM connection_test_request WHERE token = ?", (token,))
        self._process.ask({"id": found, "connection_id": fields["connection_id"]})
        reported = self.ask("GET", "/api/v2/connections/enqueue-test", **{"Airflow-Connection-Test-Token": token})
        assert reported["state"] in ("success", "failed")
        return reported["state"] == "success", reported["result_message"]

    def close(self) -> None:
        """End the process that was started here."""
        self._session.close()
        self._process.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path_factory.mktemp("airflow"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(username=LOGIN, password=PASSWORD, path_prefix="/gate/eu") as running:
        yield running


@pytest.fixture(params=["in the API server", "on a worker"])
def tested(request: pytest.FixtureRequest, server: ApiServer) -> Callable[..., tuple[bool, str]]:
    """Either way of testing a connection."""
    if request.param == "in the API server":
        return server.tested_here
    if not server.tests_on_workers:
        pytest.skip("this Airflow does not test connections on workers")
    return server.tested_by_a_worker


@pytest.fixture
def filled(request: pytest.FixtureRequest, server: ApiServer, simulator: RunningSimulator) -> dict[str, Any]:
    """What the form sends where only URL, login and password were filled in."""
    return {
        "connection_id": hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20],
        "conn_type": "capillary",
        "description": "",
        "host": simulator.url,
        "login": LOGIN,
        "password": PASSWORD,
        "port": None,
        "schema": "",
        "extra": json.dumps({name: field["value"] for name, field in form(server)["extra_fields"].items()}),
    }


def form(server: ApiServer) -> dict[str, Any]:
    [found] = [
        each for each in server.ask("GET", "/ui/connections/hook_meta") if each["connection_type"] == "capillary"
    ]
    found_form: dict[str, Any] = found
    return found_form


def test_the_form_is_the_one_that_is_declared(server: ApiServer) -> None:
    [declared] = get_provider_info()["connection-types"]
    served = form(server)
    assert served["hook_name"] == "Capillary"
    assert list(served["extra_fields"]) == list(declared["conn-fields"])
    for name, field in declared["conn-fields"].items():
        shown = served["extra_fields"][name]
        assert shown["schema"] == field["schema"] | {"title": field["label"]}
        assert shown["description"] == field["description"]
        assert shown["value"] == field["schema"].get("default")
    for kind, reported in (("relabeling", "title"), ("placeholders", "placeholder")):
        for name, text in declared["ui-field-behaviour"][kind].items():
            standard = served["standard_fields"][{"schema": "url_schema"}.get(name, name)]
            assert (standard[reported], standard["hidden"]) == (text, False)


def test_a_form_saved_unchanged_works_with_defaults(
    tested: Callable[..., tuple[bool, str]], simulator: RunningSimulator, filled: dict[str, Any]
) -> None:
    good, message = tested(filled)
    assert good, message
    assert message.startswith(f"Connected to {simulator.url} as till {LOGIN!r}")
    fields: dict[str, Any] = {"conn_id": "c", "host": simulator.url, "login": LOGIN, "password": PASSWORD}
    assert connection_settings(ConnectionFields(**fields, extra=filled["extra"])) == connection_settings(
        ConnectionFields(**fields)
    )
    assert len(simulator.store) == 0


def test_a_stored_connection_is_saved_without_its_password(server: ApiServer, filled: dict[str, Any]) -> None:
    extra = json.loads(filled["extra"]) | {"password_is_md5": True, "organisation": "acme", "verify_ssl": "false"}
    server.ask("POST", "/api/v2/connections", filled | {"password": DIGEST, "extra": json.dumps(extra)})
    path = f"/api/v2/connections/{filled['connection_id']}"
    for _ in range(2):
        opened = server.ask("GET", path)
        assert opened["password"] == MASK
        assert json.loads(opened["extra"]) == extra
        good, message = server.tested_here(opened)
        assert good, message
        server.ask("PATCH", path, opened)


def test_a_worker_s_test_can_save_the_connection(server: ApiServer, filled: dict[str, Any]) -> None:
    if not server.tests_on_workers:
        pytest.skip("this Airflow does not test connections on workers")
    good, message = server.tested_by_a_worker(filled, commit_on_success=True)
    assert good, message
    assert server.tested_here(server.ask("GET", f"/api/v2/connections/{filled['connection_id']}"))[0]


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"password": "another"}, "must be the till id and password the till password"),
        ({"password": MASK}, "Password is '***', which Airflow shows instead of a stored value"),
        ({"password": None}, "Password is missing; with auth_type basic it is the till password"),
        ({"host": "http://127.0.0.1:9"}, "Nothing listens there: check host and port"),
        ({"extra": json.dumps({"tiemout": 5})}, "Unknown extra key(s) tiemout; known: allow_http, "),
        ({"schema": "https"}, "Schema 'https' contradicts the host's http://"),
    ],
)
def test_the_form_shows_what_is_wrong(
    tested: Callable[..., tuple[bool, str]], filled: dict[str, Any], changed: dict[str, Any], advice: str
) -> None:
    good, message = tested(filled | changed)
    assert not good
    assert advice in message
    assert filled["connection_id"] not in message


def test_the_server_log_has_no_secret_or_warning(server: ApiServer, filled: dict[str, Any]) -> None:
    server.tested_here(filled)
    log = server.log.read_text("utf-8")
    assert "/api/v2/connections/test" in log
    assert [secret for secret in (PASSWORD, DIGEST, HEADER) if secret in log] == []
    ours = Path(__file__).parents[2] / "airflow_provider_capillary"
    assert [line for line in log.splitlines() if "py.warnings" in line and str(ours) in line] == []
