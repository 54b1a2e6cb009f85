"""The page under two auth managers and six roles: who sees what, and that a refusal changes nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Issues, JobPlan, JobScope, RowIssue
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.plugins.badge_imports.app import build_app
from tests.airflow.line_process import LineProcess
from tests.unit.plugins.test_routes import all_routes

SERVER = Path(__file__).with_name("server.py")
OPEN_DAG, CLOSED_DAG = "shop_open", "shop_closed"
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{7*7}}\u202e"
CUSTOMER = 998877665544
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"

pytestmark = pytest.mark.timeout(300)  # Airflow starts with the first of them


class Page:
    """The page of one Airflow, as each of its users gets it."""

    def __init__(self, home: Path, manager: str, base_path: str) -> None:
        self.home, self.manager = home, manager
        own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__AUTH_MANAGER": manager,
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1{base_path}",
            "AIRFLOW__API__SECRET_KEY": "b" * 32,
            "AIRFLOW__API_AUTH__JWT_SECRET": "a" * 64,
        }
        self.process = LineProcess(SERVER, own | settings, home / "server.log")
        try:
            found = self.process.next_line()
        except BaseException:
            self.process.close()
            raise
        self.url: str = found["url"]
        self.tokens: dict[str, str] = found["tokens"]
        self.ledger = home / "capillary_ledger.db"
        self.jobs: dict[str, str] = {}

    def get(self, role: str | None, path: str, **arguments: Any) -> requests.Response:
        return self.ask("GET", role, path, **arguments)

    def ask(self, method: str, role: str | None, path: str, **arguments: Any) -> requests.Response:
        """One request, as a browser with that user's cookie makes it."""
        with requests.Session() as session:
            session.trust_env = False
            cookies = {"_token": self.tokens[role]} if role else None
            return session.request(
                method,
                f"{self.url}/badge-imports{path}",
                cookies=cookies,
                timeout=60,
                allow_redirects=False,
                **arguments,
            )

    def job(self, dag_id: str, path: str = "") -> str:
        return f"/dags/{dag_id}/jobs/{self.jobs[dag_id]}{path}"

    def state(self) -> tuple[object, ...]:
        """All that an action could change."""
        ledger = sqlite3.connect(self.ledger)
        airflow = sqlite3.connect(self.home / "airflow.db")
        with closing(ledger), closing(airflow):
            return (
                list(ledger.iterdump()),
                airflow.execute("SELECT count(*) FROM dag_run").fetchall(),
                airflow.execute("SELECT count(*) FROM task_instance").fetchall(),
                airflow.execute("SELECT count(*) FROM log").fetchall(),
            )


def fill(page: Page) -> None:
    """A job of each of two Dags; every text that an outsider can choose is hostile."""
    with closing(Ledger(f"sqlite:///{page.ledger}")) as ledger:
        for dag_id in (OPEN_DAG, CLOSED_DAG):
            scope = JobScope(dag_id, HOSTILE, f"manual__{HOSTILE}", map_index=3)
            plan = JobPlan(f"shop {HOSTILE}", "https://api.example.com", "f", 2, {}, (f"file:///{HOSTILE}.csv",))
            job = ledger.open_job(scope, plan)
            row = RowIssue(
                0,
                RowState.INVALID,
                HOSTILE,
                f"not an id: {HOSTILE}",
                HOSTILE,
                2,
                {HOSTILE: HOSTILE, "customerId": CUSTOMER},
                code=1054,
                request_id=HOSTILE,
                badge_meta_id=HOSTILE,
            )
            rejected = RowIssue(1, RowState.REJECTED, "send", HOSTILE, "", 3, {"customerId": CUSTOMER})
            ledger.record(job, [Issues([row, rejected])])
            ledger.name_badges({HOSTILE: HOSTILE})
            counts = dict.fromkeys(("accepted", "already_accepted", "unknown", "not_sent"), 0)
            summary = {"rows_read": 2, "rejected": 1, "invalid": 1, **counts, "requests": 1, "batches": 1}
            ledger.finish_job(job, "failed", summary | {"reasons": []})
            page.jobs[dag_id] = job.job_id


@pytest.fixture(scope="module", params=["simple", "fab"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if request.param == "fab" and importlib.util.find_spec("airflow.providers.fab") is None:
        pytest.skip("the FAB auth manager is not installed: pip install apache-airflow-providers-fab")
    # one of them is served below a path
    manager, base_path = (SIMPLE, "") if request.param == "simple" else (FAB, "/airflow")
    served = Page(tmp_path_factory.mktemp(request.param), manager, base_path)
    assert "No badge was imported yet" in served.get("viewer", "/").text
    assert not served.ledger.exists()  # a page that is looked at makes no ledger
    fill(served)
    yield served
    served.process.close()


#: What each role may see: the list, counts, rows, and the actions (PUT on task instances), the undo.
MAY = {
    "none": "",
    "viewer": "list counts rows",
    "user": "list counts rows change",
    "op": "list counts rows change undo",
    "admin": "list counts rows change undo",
}
ROUTES = {
    "": "counts",
    "?part=live": "counts",
    "/history": "counts",
    "/rows": "rows",
    "/errors.csv": "rows",
    "/report.html": "rows",
    "/summary.json": "rows",
    "/settle": "change",
    "/again": "change",
    "/undo": "undo",
}


@pytest.mark.parametrize("role", MAY)
def test_each_role_sees_only_what_it_may(page: Page, role: str) -> None:
    allowed = MAY[role].split()

    got = {path: page.get(role, page.job(CLOSED_DAG, path)).status_code for path in ROUTES}

    assert got == {path: 200 if right in allowed else 403 for path, right in ROUTES.items()}
    assert (CLOSED_DAG in page.get(role, "/").text) == ("list" in allowed)


def test_a_role_of_one_dag_sees_only_it(page: Page) -> None:
    if page.manager == SIMPLE:
        pytest.skip("the simple auth manager knows no rights of single Dags")

    listed = page.get("restricted", "/").text

    assert OPEN_DAG in listed
    assert CLOSED_DAG not in listed
    assert page.get("restricted", page.job(OPEN_DAG, "/rows")).status_code == 200
    assert page.get("restricted", page.job(OPEN_DAG, "/settle")).status_code == 200
    assert page.get("restricted", page.job(OPEN_DAG, "/undo")).status_code == 403
    for path in ROUTES:
        assert page.get("restricted", page.job(CLOSED_DAG, path)).status_code == 403, path
    assert page.get("restricted", f"/dags/{CLOSED_DAG}/tab?run_id=x").status_code == 403


def test_a_job_is_not_reached_through_another_dag(page: Page) -> None:
    role = "viewer" if page.manager == SIMPLE else "restricted"

    for path in ("", "/rows", "/errors.csv", "/history"):
        assert page.get(role, f"/dags/{OPEN_DAG}/jobs/{page.jobs[CLOSED_DAG]}{path}").status_code == 404, path
    by_id = page.get(role, f"/jobs/{page.jobs[CLOSED_DAG]}")
    assert by_id.status_code == (404 if role == "restricted" else 307)


def test_without_a_login_nothing_is_shown(page: Page) -> None:
    for path in (
        "/",
        "/static/page.css",
        f"/jobs/{page.jobs[OPEN_DAG]}",
        *map(lambda p: page.job(OPEN_DAG, p), ROUTES),
    ):
        reply = page.get(None, path)
        assert reply.status_code == 401, path
        assert OPEN_DAG not in reply.text.replace(path, "")


def test_a_refused_action_changes_nothing(page: Page) -> None:
    before = page.state()
    signed = confirmation(page, "admin", "/again")

    for role in ("none", "viewer"):
        for path in ("/settle", "/again", "/undo"):
            reply = page.ask("POST", role, page.job(CLOSED_DAG, path), data={"confirmation": signed})
            assert reply.status_code == 403, (role, path)
    assert page.ask("POST", "user", page.job(CLOSED_DAG, "/undo"), data={"confirmation": signed}).status_code == 403
    assert page.state() == before


def test_every_route_answers_only_its_own_verbs(page: Page) -> None:
    before = page.state()
    values = {"dag_id": CLOSED_DAG, "job_id": page.jobs[CLOSED_DAG], "name": "errors", "ending": "csv"}
    served: dict[str, set[str]] = {}
    for route in all_routes(build_app().routes):
        served.setdefault(route.path, set()).update(route.methods)
    for template, methods in served.items():
        path = template.format_map(values)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            form = {"data": {"confirmation": "x"}} if method == "POST" else {}
            reply = page.ask(method, "none", path, **form)
            if method not in methods:
                assert reply.status_code == 405, (method, path)
            elif "{dag_id}" in template:
                assert reply.status_code == 403, (method, path)
            assert CLOSED_DAG not in reply.text.replace(path, ""), (method, path)
            assert page.ask(method, None, path, **form).status_code in (401, 405), (method, path)
    assert page.state() == before


def test_a_role_of_one_dag_changes_only_it(page: Page) -> None:
    if page.manager == SIMPLE:
        pytest.skip("the simple auth manager knows no rights of single Dags")
    before = page.state()
    signed = confirmation(page, "admin", "/again")

    for path in ("/settle", "/again", "/undo"):
        reply = page.ask("POST", "restricted", page.job(CLOSED_DAG, path), data={"confirmation": signed})
        assert reply.status_code == 403, path
    assert page.state() == before


def confirmation(page: Page, role: str, path: str) -> str:
    found = re.search(r'name="confirmation" value="([^"]+)"', page.get(role, page.job(CLOSED_DAG, path)).text)
    return found[1] if found else ""


def test_an_action_needs_the_confirmation_its_page_showed(page: Page) -> None:
    before = page.state()
    path = page.job(CLOSED_DAG, "/again")
    forms: list[Mapping[str, str]] = [{}, {"confirmation": ""}, {"confirmation": "x.y.z"}]

    codes = [page.ask("POST", "op", path, data=form).status_code for form in forms]

    assert codes[0] == 400
    assert set(codes[1:]) <= {400, 403}
    assert page.state() == before


def test_another_site_can_start_nothing(page: Page) -> None:
    before = page.state()

    for site in ("cross-site", "same-site"):
        reply = page.ask(
            "POST",
            "admin",
            page.job(CLOSED_DAG, "/again"),
            data={"confirmation": "x"},
            headers={"Sec-Fetch-Site": site, "Origin": "https://evil.example"},
        )
        assert reply.status_code == 403
        assert "another site" in reply.text
    assert page.state() == before


def test_hostile_values_stay_text_on_every_page(page: Page) -> None:
    paths = ["/", f"/?dag={HOSTILE}&organisation={HOSTILE}&day_from={HOSTILE}&state={HOSTILE}"]
    paths += [page.job(CLOSED_DAG, path) for path in ROUTES if not path.endswith((".csv", ".json"))]
    paths += [page.job(CLOSED_DAG, f"/rows?search={HOSTILE}&state={HOSTILE}")]
    paths += [page.job(CLOSED_DAG, f"/history?started={HOSTILE}&of={HOSTILE}&run={HOSTILE}")]
    paths += [f"/dags/{CLOSED_DAG}/tab?run_id={HOSTILE}&task_id={HOSTILE}", f"/jobs/{HOSTILE}", f"/?ledger={HOSTILE}"]
    for path in paths:
        reply = page.get("admin", path)
        assert "<script>alert" not in reply.text, path
        assert "<img" not in reply.text, path
        # what is shown has no invisible character; a form gives back the very value
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", reply.text), path
        assert ">49<" not in reply.text
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "script-src 'self';" in policy or "script-src" not in policy  # the report runs none at all
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//', reply.text) == [], path


def test_addresses_hold_below_a_base_path(page: Page) -> None:
    base = page.url.partition("//")[2].partition("/")[2]
    root = f"/{base}/badge-imports" if base else "/badge-imports"
    airflows = f"/{base}/dags/" if base else "/dags/"  # pages of Airflow itself

    for path in ("/", page.job(CLOSED_DAG), page.job(CLOSED_DAG, "/rows")):
        text = page.get("admin", path).text
        own = [
            address
            for address in re.findall(r'(?:src|href|action)="([^"#?]+)', text)
            if not re.match(airflows, address)
        ]
        assert own
        assert [address for address in own if not address.startswith(root)] == []
    assert page.get("admin", "/static/page.css").headers["Content-Type"].startswith("text/css")


def test_customers_are_not_on_a_page_of_counts(page: Page) -> None:
    assert str(CUSTOMER) not in page.get("viewer", page.job(OPEN_DAG)).text
    rows = page.get("viewer", page.job(OPEN_DAG, "/rows")).text
    assert str(CUSTOMER) in rows
    assert "sending, line <bdi>3</bdi>" in rows


def test_foreign_tasks_and_missing_ledgers_get_a_message(page: Page) -> None:
    foreign = page.get("viewer", f"/dags/{OPEN_DAG}/tab?run_id=other&task_id=copy_files&map_index=-1")
    assert (foreign.status_code, "This task has imported no badges" in foreign.text) == (200, True)
    assert page.get("viewer", "/?ledger=warehouse").status_code == 404  # no Dag names it: it is not opened

    page.process.ask({"AIRFLOW__CAPILLARY__LEDGER_CONN_ID": "elsewhere"})
    missing = page.get("viewer", "/")
    page.process.ask({"AIRFLOW_CONN_ELSEWHERE": "postgres://nobody:secret@127.0.0.1:9/ledger?connect_timeout=1"})
    unreachable = page.get("viewer", "/")
    page.process.ask({"AIRFLOW__CAPILLARY__LEDGER_CONN_ID": ""})

    assert (missing.status_code, "The ledger is not set up here" in missing.text) == (503, True)
    assert (unreachable.status_code, "cannot be read at this moment" in unreachable.text) == (503, True)
    assert "secret" not in unreachable.text
