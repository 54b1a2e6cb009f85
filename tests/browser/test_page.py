"""The product as a person meets it, in a real Chromium: forms of Airflow, and the page "Badge imports" within it."""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.browser.conftest import Stack, Visitor, sync_api

from .steps import BADGE, dataset, ended, eventually, faults, job_address, open_job, run, runs_of, serious

REFUSED_ROWS = 100_000
pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def unproven(stack: Stack) -> str:
    """An import whose replies are lost, begun before all others: a read may be trusted only a minute later."""
    faults(stack, {"kind": "drop", "at": "after_applying", "first": 3, "times": 3})
    run_id = run(stack, "shop_badges", "unproven", file=dataset(stack, "unproven", 60, 3_000))
    ended(stack, "shop_badges", run_id)
    faults(stack)
    return run_id


# -- Airflow's own forms ---------------------------------------------------------------------------------------------


def test_a_connection_is_made_and_tested_in_the_form(admin: Visitor, stack: Stack) -> None:
    host, port = stack.simulator.removeprefix("http://").split(":")
    page = admin.open("/connections")
    secret = secret_of(stack)

    for name, given_port, password, expected in (
        ("with_port", port, secret, "success"),
        ("bad_password", port, "not-the-password", "401"),
        # Airflow 3.2 tests what the form has, 3.3 refuses a stored connection without a port
        ("no_port", "", secret, "port" if admin.downloads else "success"),
    ):
        page.get_by_role("button", name=re.compile("Add Connection", re.I)).click()
        form = page.get_by_role("dialog")
        form.get_by_label("Connection ID").fill(name)
        form.get_by_role("combobox", name="Connection Type").fill("Capillary")
        page.get_by_role("option", name="Capillary").click()
        form.get_by_label("Cluster URL").fill(f"http://{host}" if given_port else f"http://{host}:{port}")
        form.get_by_label(re.compile("^Till id")).fill("sample.till")
        form.get_by_label(re.compile("^Till password")).fill(password)
        if given_port:
            form.get_by_label(re.compile("^Port")).fill(given_port)
        form.get_by_role("button", name="Save").click()
        form.wait_for(state="hidden")
        row = page.get_by_role("row").filter(has_text=name)
        with page.expect_response(re.compile("connections/test")) as tested:
            row.get_by_role("button").first.click()
        answer = tested.value
        reported = answer.text()
        if expected == "success":
            assert answer.status == 200
            assert '"status":true' in reported, reported
        else:
            assert expected in reported, reported
            assert '"status":true' not in reported
        assert secret not in reported


def secret_of(stack: Stack) -> str:
    text = (stack.folder / "airflow" / "prepared.json").read_text("utf-8")
    found = re.search(r'"password": "([^"]+)"', text)
    assert found
    return found[1]


def test_a_dag_is_triggered_by_its_form(admin: Visitor, stack: Stack) -> None:
    path = dataset(stack, "form", 30, 1_000, bad=3)
    page = admin.open("/dags/shop_badges")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.locator("#element_file").fill(path)
    form.get_by_role("button", name="Trigger", exact=True).click()
    form.wait_for(state="hidden")
    run_id = eventually(lambda: runs_of(stack, "shop_badges"))[0]["dag_run_id"]

    assert ended(stack, "shop_badges", run_id) == "success"
    job = open_job(admin, run_id)
    job.get_by_text("3 rows need attention").wait_for()
    job.get_by_role("cell", name=re.compile(f"^first_purchase ?{BADGE}$")).wait_for()  # called so in Capillary
    assert job.get_by_text(re.compile("mobile-")).count() == 0  # counts and reasons have no values of rows


# -- the page --------------------------------------------------------------------------------------------------------


def test_a_running_job_is_followed_without_reload(admin: Visitor, stack: Stack) -> None:
    faults(stack, {"kind": "slow", "seconds": 1.5})
    run_id = run(stack, "shop_badges", "watched", file=dataset(stack, "watched", 140, 2_000, bad=5))
    job = open_job(admin, run_id)
    # Airflow's page asks for the tab once: it may be there before the job
    running = job.get_by_role("heading", name=re.compile(r"^Running: \d+ of 140 rows"))
    for _ in range(100):
        with suppress(sync_api.TimeoutError):
            running.wait_for(timeout=300)
            break
        admin.open(f"/dags/shop_badges/runs/{run_id}/tasks/import_badges/plugin/badge-import")
        job.locator("main").wait_for()
    before = admin.page.evaluate("performance.timeOrigin")
    admin.shoot("job_running")

    job.get_by_role("heading", name="5 rows need attention").wait_for()

    assert admin.page.evaluate("performance.timeOrigin") == before
    faults(stack)
    assert ended(stack, "shop_badges", run_id) == "success"


def test_the_import_task_links_to_job_and_report(admin: Visitor, stack: Stack) -> None:
    page = admin.open("/dags/shop_badges/runs/watched/tasks/import_badges/details")
    page.get_by_text("Extra Links").wait_for()
    page.get_by_role("link", name="Badge import").last.click()
    page.wait_for_url(re.compile("/plugin/badge-import$"))
    job = admin.frame()
    job.get_by_role("heading", name="5 rows need attention").wait_for()
    page.get_by_text("Start Date").wait_for()
    admin.shoot("job")
    job.get_by_role("link", name="Report").click()

    job.get_by_role("heading", name="Badge import into Capillary").wait_for()
    admin.shoot("report")
    if admin.downloads:
        with page.expect_download() as coming:
            job.get_by_role("link", name=re.compile("^errors.csv")).click()
        assert "mobile-139" in Path(coming.value.path()).read_text("utf-8")
    open_job(admin, "watched").get_by_role("link", name="import_badges").click()  # out of the frame, within Airflow
    page.wait_for_url(re.compile("/tasks/import_badges$"))


def test_the_report_task_links_to_its_imports(admin: Visitor) -> None:
    page = admin.open("/dags/shop_badges/runs/watched/tasks/report/plugin/badge-import")
    admin.frame().get_by_text("This task imports no badges itself").wait_for()
    admin.frame().get_by_role("link", name="shop_badges").click()

    admin.frame().get_by_role("heading", name="5 rows need attention").wait_for()
    assert "/plugin/badge-import" in page.url


def test_errors_csv_downloads_or_opens_as_text(admin: Visitor) -> None:
    job = open_job(admin, "watched")
    link = job.get_by_role("link", name=re.compile("^errors.csv"))
    if admin.downloads:
        with admin.page.expect_download() as coming:
            link.click()
        text = Path(coming.value.path()).read_text("utf-8")
    else:
        link.click()
        text = job.locator("pre").inner_text()

    rows = list(csv.DictReader(text.splitlines()))
    assert [row["customerId"] for row in rows] == [f"mobile-{nth}" for nth in range(135, 140)]


def test_a_hundred_thousand_refused_rows_are_searched(admin: Visitor, stack: Stack) -> None:
    with psycopg.connect(stack.ledger) as ledger:
        ledger.execute(
            "INSERT INTO capillary_row_issue SELECT j.id, 1000 + n, 'rejected', 'send', 1054, 'badge ' || n ||"
            " ' is not there', %s, '{\"source\": \"file\", \"line\": ' || n || '}',"
            " '{\"customerId\": ' || (5000000 + n) || '}'"
            " FROM capillary_job j, generate_series(1, %s) n WHERE j.run_id = 'watched'",
            [BADGE, REFUSED_ROWS],
        )
    job = open_job(admin, "watched")
    job.get_by_role("link", name="Rows", exact=True).click()
    job.get_by_label("Search").fill("5077777")
    with admin.page.expect_response(re.compile("/rows")) as reply:
        job.get_by_role("button", name="Search").click()

    job.get_by_text("badge 77777 is not there").wait_for()
    assert reply.value.request.timing["responseStart"] < 1_000  # milliseconds
    admin.shoot("rows")
    job.get_by_label("Search").fill("")
    job.get_by_role("button", name="Search").click()
    job.get_by_role("link", name="Next").click()
    job.get_by_text("Page 2").wait_for()
    with psycopg.connect(stack.ledger) as ledger:
        ledger.execute("DELETE FROM capillary_row_issue WHERE message LIKE 'badge %% is not there'")


def test_settled_rows_name_who_started_the_run(admin: Visitor, stack: Stack, unproven: str) -> None:
    job = open_job(admin, unproven)
    job.get_by_role("heading", name=re.compile("need attention")).wait_for()
    job.get_by_role("link", name=re.compile("Settle")).click()
    job.get_by_text("review_unknown_badges").first.wait_for()
    admin.shoot("settle")
    job.get_by_role("button", name="Read them back").click()
    job.get_by_role("heading", name="Started: Settle unknown rows").wait_for()
    (review,) = runs_of(stack, "review_unknown_badges")
    job.get_by_role("row").filter(has_text="Settle unknown rows").filter(has_text="admin").first.wait_for()

    assert review["triggering_user_name"] == "admin"
    assert "by admin" in review["note"]


def test_an_import_is_run_again_by_a_clear(admin: Visitor, stack: Stack) -> None:
    (review,) = runs_of(stack, "review_unknown_badges")
    assert ended(stack, "review_unknown_badges", review["dag_run_id"]) == "success"
    job = open_job(admin, "unproven")
    job.get_by_role("link", name="History").click()
    job.get_by_role("heading", name="History of this job").wait_for()
    assert job.get_by_role("cell", name=re.compile("^dag review_unknown_badges")).count() == 1
    admin.shoot("history")
    job = open_job(admin, "unproven")
    job.get_by_role("link", name="Run again …").click()
    job.get_by_text("begins a new job").wait_for()
    job.get_by_role("button", name="Run it again").click()
    job.get_by_role("heading", name="Started: Run the import again").wait_for()
    job.get_by_role("row").filter(has_text="Run again").filter(has_text="admin").first.wait_for()

    assert ended(stack, "shop_badges", "unproven") == "success"
    open_job(admin, "unproven").get_by_role("heading", name="Every row is accepted").wait_for()
    granted = requests.get(f"{stack.simulator}/simulator/summary", timeout=10).json()
    assert granted["grantedTwice"] == 0


def test_an_undo_revokes_after_a_dry_run(admin: Visitor, stack: Stack) -> None:
    job = open_job(admin, "watched")
    job.get_by_role("link", name="Undo …").click()
    job.get_by_text("First a dry run").wait_for()
    job.get_by_role("button", name="Start the dry run").click()
    job.get_by_role("heading", name=re.compile("^Started: Undo this import: dry run")).wait_for()
    (tried,) = runs_of(stack, "undo_badges")
    assert ended(stack, "undo_badges", tried["dag_run_id"]) == "success"
    job = open_job(admin, "watched")
    job.get_by_role("link", name="Undo …").click()
    button = job.get_by_role("button", name="Take 135 badges back")
    button.wait_for()
    admin.shoot("undo")
    button.click()
    job.get_by_role("heading", name="Started: Undo this import").wait_for()

    assert ended(stack, "undo_badges", runs_of(stack, "undo_badges")[0]["dag_run_id"]) == "success"
    job = open_job(admin, "watched")
    job.get_by_role("link", name="History").click()
    job.get_by_role("cell", name="revoked", exact=True).wait_for()
    job.get_by_role("link", name="Overview").click()
    job.get_by_role("heading", name="135 badges were taken back since").wait_for()
    assert job.get_by_role("link", name="Undo …").count() == 0  # nothing is left to take back


def test_a_job_of_another_ledger_is_undone_there(admin: Visitor, stack: Stack) -> None:
    ledger = stack.folder / "second_ledger.db"
    host, port = stack.simulator.removeprefix("http://").split(":")
    till = {"host": host, "port": int(port), "schema": "http", "login": "sample.till", "password": secret_of(stack)}
    second = {"connection_id": "second_till", "conn_type": "capillary", "extra": '{"organisation": "second shop"}'}
    stack.api.post("connections", {**second, **till})
    stack.api.post("connections", {"connection_id": "second_ledger", "conn_type": "sqlite", "host": str(ledger)})
    run(stack, "second_shop", "first", file=dataset(stack, "second", 5, 8_000))
    assert ended(stack, "second_shop", "first") == "success"

    admin.open("/dags/second_shop/runs/first/tasks/import_badges/plugin/badge-import")
    job = admin.frame()
    job.get_by_role("link", name="Undo …").click()
    job.get_by_text("as the import did").first.wait_for()
    admin.shoot("undo_elsewhere")
    job.get_by_role("button", name="Start the dry run").click()
    job.get_by_role("heading", name=re.compile("^Started: Undo this import: dry run")).wait_for()

    started = runs_of(stack, "undo_badges")[0]
    assert (started["conf"]["connection"], started["conf"]["ledger"]) == ("second_till", "second_ledger")
    assert ended(stack, "undo_badges", started["dag_run_id"]) == "success"
    path = f"dags/undo_badges/dagRuns/{started['dag_run_id']}/taskInstances/undo/xcomEntries/return_value"
    assert "'to_revoke': 5" in str(stack.api.get(path)["value"]).replace('"', "'")
    admin.open("/plugin/badge-imports")
    listed = admin.frame()
    listed.get_by_label("Ledger").select_option("second_ledger")
    listed.get_by_role("button", name="Show").click()
    listed.get_by_role("link", name="second_shop").wait_for()


def choose_days(page: Any, form: Any, first: date, last: date) -> None:
    """Fill the range of the backfill dialog, each day from midnight."""
    plain = form.locator("input[name=from_date]")
    if plain.count():  # Airflow 3.2
        plain.fill(f"{first}T00:00")
        form.locator("input[name=to_date]").fill(f"{last}T00:00")
        return
    for name, day in (("From", first), ("To", last)):
        form.get_by_text("Select date and time").first.click()
        picker = page.get_by_role("textbox", name=name, exact=True)
        picker.fill(f"{day:%Y/%m/%d}")
        picker.press("Enter")
        page.get_by_role("textbox", name="HH:mm").fill("00:00")
        page.get_by_role("textbox", name="HH:mm").press("Enter")
        form.get_by_role("heading").first.click()  # closes the calendar


def test_nights_are_backfilled_from_the_dialog(admin: Visitor, stack: Stack) -> None:
    stack.api.patch("dags/nightly_badge_sync", {"is_paused": False})
    today = datetime.now(UTC).date()
    page = admin.open("/dags/nightly_badge_sync")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.locator("[role=dialog][aria-modal=true]")  # its calendars are dialogs too
    form.get_by_text("Backfill", exact=True).click()
    choose_days(page, form, today - timedelta(days=3), today - timedelta(days=1))
    form.get_by_role("button", name=re.compile("Run Backfill|Trigger", re.I)).last.click()
    form.wait_for(state="hidden")

    def ended_backfill() -> list[dict[str, Any]]:
        runs = [one for one in runs_of(stack, "nightly_badge_sync") if one["run_type"] == "backfill"]
        return runs if all(one["state"] in ("success", "failed") for one in runs) else []

    runs = eventually(ended_backfill, 120)
    assert {one["state"] for one in runs} == {"success"}
    admin.open("/plugin/badge-imports")
    listed = admin.frame()
    listed.get_by_label("DAG").select_option("nightly_badge_sync")
    listed.get_by_role("button", name="Show").click()
    listed.get_by_role("link", name="Show all").wait_for()
    assert listed.get_by_role("row").count() >= len(runs)


# -- for everybody ---------------------------------------------------------------------------------------------------


def test_a_viewer_reads_and_may_do_nothing(viewer: Visitor) -> None:
    job = open_job(viewer, "unproven")
    job.get_by_role("heading", name="Every row is accepted").wait_for()

    assert job.get_by_role("link", name="Run again …").count() == 0
    assert job.get_by_role("link", name="Undo …").count() == 0
    address = job_address(viewer, "unproven")
    for action in ("settle", "again", "undo"):
        assert viewer.context.request.get(f"{address}/{action}").status == 403
        assert viewer.context.request.post(f"{address}/{action}", form={"confirmation": "x"}).status == 403


def test_pages_are_accessible_in_light_dark_and_phone(admin: Visitor) -> None:
    page = admin.page
    admin.open("/plugin/badge-imports")
    admin.frame().get_by_role("link", name="shop_badges").first.wait_for()
    admin.shoot("list")
    page.emulate_media(color_scheme="dark")
    open_job(admin, "watched").get_by_role("heading", name="5 rows need attention").wait_for()
    admin.shoot("job_dark")
    address = job_address(admin, "watched")
    found: dict[str, list[tuple[str, str]]] = {}
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        for path in ("", "/rows", "/history", "/undo"):
            page.goto(f"{address}{path}")
            found[f"{path} {theme}"] = serious(page)
        admin.open("/badge-imports/")
        found[f"list {theme}"] = serious(page)
    page.set_viewport_size({"width": 390, "height": 800})
    wide = {}
    for path in ("", "/rows", "/history"):
        page.goto(f"{address}{path}")
        wide[path] = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    page.goto(address)
    admin.shoot("phone", full_page=True)
    page.set_viewport_size({"width": 1400, "height": 900})

    assert {place: problems for place, problems in found.items() if problems} == {}
    assert not any(wide.values()), wide


def test_the_list_is_worked_by_keyboard_alone(admin: Visitor) -> None:
    page = admin.open("/badge-imports/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('table') !== null"):
            break
    page.keyboard.press("Enter")

    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_url(re.compile("/jobs/"))


def test_no_request_leaves_the_host(admin: Visitor) -> None:
    assert [url for url in admin.foreign if "gravatar" not in url] == []
