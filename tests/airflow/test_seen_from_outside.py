"""What others see of an import in a real Airflow: OpenLineage events, metrics over UDP, and events of assets."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_capillary.simulator.server import running_simulator
from dev import airflow_home

DAGS = Path(__file__).with_name("dags") / "watched.py"
BADGE, NO_BADGE = "654e08f2041fd452b3ef5b2e", "0123456789abcdef01234567"
ROWS = {"whole": range(9_000_001, 9_000_031), "good": range(9_100_001, 9_100_005)}
ROWS |= {"fine": range(9_200_001, 9_200_003), "bad": range(9_300_001, 9_300_004)}
pytestmark = pytest.mark.timeout(300)  # an Airflow of its own starts here


class Seen(NamedTuple):
    """What came of three DAG runs."""

    whole: Any  #: an extract, an import and its report
    parts: Any  #: three mapped imports, one of which fails, and their report
    dry_run: Any  #: an import of four rows that sends nothing, and its report
    lineage: list[dict[str, Any]]
    metrics: Counter[str]
    assets: list[tuple[str, str, int, dict[str, Any]]]  #: of each event: URI, DAG, map index, extra
    links: list[Any]
    folder: Path
    host: str

    def stated(self, kind: str, job: str) -> list[dict[str, Any]]:
        """The lineage events of one kind about one task."""
        return [one for one in self.lineage if (one["eventType"], one["job"]["name"]) == (kind, job)]


@pytest.fixture(scope="module")
def seen(airflow_process: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """All runs, in an Airflow that reports all it can; its database is a copy, for making one takes long."""
    folder, home = tmp_path_factory.mktemp("watched"), tmp_path_factory.mktemp("airflow_watched")
    _write_datasets(folder)
    with (
        closing(sqlite3.connect(airflow_process.database)) as made,
        closing(sqlite3.connect(home / "airflow.db")) as own,
    ):
        made.backup(own)
    with running_simulator() as simulator, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as metrics:
        metrics.bind(("127.0.0.1", 0))
        metrics.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        env = airflow_home.environment(home, folder / "shop.db", simulator.url, folder / "reports")
        env |= _watched(folder, metrics.getsockname()[1])
        env["AIRFLOW_CONN_CAPILLARY_DEFAULT"] = simulator.airflow_connection(organisation="watched")
        with closing(type(airflow_process)(home, env)) as process:
            dry_run = process.run(DAGS, "watched_dry_run", {}, run_conf={"folder": str(folder)})
            whole = process.run(DAGS, "watched", {}, run_conf={"folder": f"file://{folder}/set"})
            parts = process.run(DAGS, "watched_parts", {}, run_conf={"folder": str(folder)})
            events = process.rows(
                "SELECT a.uri, e.source_dag_id, e.source_map_index, e.extra FROM asset_event e"
                " JOIN asset a ON a.id = e.asset_id WHERE e.source_dag_id LIKE 'watched%' ORDER BY e.id"
            )
            links = process.rows(
                "SELECT value FROM xcom WHERE key = '_link_BadgeReportLink' AND dag_id LIKE 'watched%'"
            )
        lineage = [json.loads(line) for line in (folder / "lineage.jsonl").read_text().splitlines()]
        yield Seen(
            whole,
            parts,
            dry_run,
            lineage,
            _received(metrics),
            [(uri, dag, index, json.loads(extra)) for uri, dag, index, extra in events],
            [json.loads(value) for (value,) in links],
            folder,
            simulator.url.removeprefix("http://"),
        )


def _watched(folder: Path, port: int) -> dict[str, str]:
    bundle = {"name": "watched", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    transport = {"type": "file", "log_file_path": str(folder / "lineage.jsonl"), "append": True}
    return {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle | {"kwargs": {"path": str(DAGS.parent)}}]),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
        "AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "sqlite", "host": str(folder / "shop.db")}),
    }


def _write_datasets(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.execute("CREATE TABLE earned (badge_id TEXT, customer_id INTEGER, earned_at INTEGER, expires_at INTEGER)")
        rows = [(BADGE, customer, 1_736_942_400, 1_768_478_400) for customer in ROWS["whole"]]
        shop.executemany("INSERT INTO earned VALUES (?, ?, ?, ?)", rows)
        shop.commit()
    for name in ("good", "fine", "bad"):
        lines = [
            _line(customer, NO_BADGE if name == "bad" and number == 0 else BADGE)
            for number, customer in enumerate(ROWS[name])
        ]
        (folder / f"{name}.jsonl").write_text("".join(lines))


def _line(customer: int, badge: str) -> str:
    dates = {"earnEventDate": 1_736_942_400, "earnExpiresOn": 1_768_478_400}
    return json.dumps({"badgeMetaId": badge, "customerId": customer, **dates}) + "\n"


def _received(metrics: socket.socket) -> Counter[str]:
    """Counters added up, and how often each timer was given: all that has come so far."""
    metrics.setblocking(False)
    found: Counter[str] = Counter()
    while True:
        try:
            datagram = metrics.recv(65_536).decode()
        except BlockingIOError:
            return found
        for line in datagram.splitlines():
            if match := re.fullmatch(r"(airflow\.capillary\.[\w.]+):([\d.]+)\|(c|ms)", line):
                found[match[1]] += int(match[2]) if match[3] == "c" else 1


def names(datasets: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(dataset["namespace"], dataset["name"]) for dataset in datasets}


def test_all_runs_went_as_they_should(seen: Seen) -> None:
    assert seen.whole.state == "success", seen.whole.log[-5_000:]
    assert seen.dry_run.state == "success", seen.dry_run.log[-5_000:]
    assert sorted(seen.parts.tasks["import_badges"]) == ["failed", "success", "success"]
    assert seen.parts.tasks["report"] == ["success"], seen.parts.log[-5_000:]


def test_lineage_goes_from_parts_to_badges(seen: Seen) -> None:
    parts = {("file", part.removeprefix("file://")) for part in seen.whole.returned["extract"][0]["parts"]}
    assert len(parts) == 2
    [extracted] = seen.stated("COMPLETE", "watched.extract")
    assert names(extracted["outputs"]) == parts
    [imported] = seen.stated("COMPLETE", "watched.import_badges")
    assert names(imported["inputs"]) == parts
    [badges] = imported["outputs"]
    assert (badges["namespace"], badges["name"]) == (f"capillary://{seen.host}", "badges")
    assert badges["outputFacets"]["outputStatistics"]["rowCount"] == 30
    [begun] = seen.stated("START", "watched.import_badges")
    assert names(begun["inputs"]) == parts


def test_lineage_has_the_row_counts(seen: Seen) -> None:
    [imported] = seen.stated("COMPLETE", "watched.import_badges")
    [summary] = seen.whole.returned["import_badges"]
    facet = imported["run"]["facets"]["capillary_badgeImport"]
    assert (facet["jobId"], facet["rowsRead"], facet["accepted"]) == (summary["job_id"], 30, 30)
    assert (facet["alreadyAccepted"], facet["rejected"], facet["invalid"], facet["unknown"], facet["notSent"]) == (
        0,
    ) * 5
    assert (facet["requests"], facet["dryRun"], facet["reasons"]) == (summary["requests"], False, [])


def test_lineage_of_a_failure_has_counts_and_error(seen: Seen) -> None:
    [failed] = seen.stated("FAIL", "watched_parts.import_badges")
    facet = failed["run"]["facets"]["capillary_badgeImport"]
    assert (facet["rowsRead"], facet["accepted"], facet["rejected"]) == (3, 2, 1)
    [reason] = facet["reasons"]
    assert (reason["stage"], reason["code"], reason["rows"]) == ("badge_check", 1054, 1)
    assert "rejected" in failed["run"]["facets"]["errorMessage"]["message"]
    assert names(failed["inputs"]) == {("file", f"{seen.folder}/bad.jsonl")}
    assert failed["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert len(seen.stated("COMPLETE", "watched_parts.import_badges")) == 2


def test_lineage_of_a_report_leads_to_its_files(seen: Seen) -> None:
    [reported] = seen.stated("COMPLETE", "watched_parts.report")
    [returned] = seen.parts.returned["report"]
    assert names(reported["inputs"]) == {("file", f"{seen.folder}/{name}.jsonl") for name in ("good", "fine", "bad")}
    files = {returned[name].removeprefix("file://") for name in ("errors_csv", "summary_json", "report_html")}
    assert names(reported["outputs"]) == {("file", path) for path in files}
    facet = reported["run"]["facets"]["capillary_badgeReport"]
    assert (facet["jobs"], facet["rowsReported"], facet["mayBeGrantedTwice"]) == (3, 1, 0)


def test_metrics_count_each_row_once_by_its_end(seen: Seen) -> None:
    rows = {name: count for name, count in seen.metrics.items() if name.startswith("airflow.capillary.rows.")}
    assert rows == {
        "airflow.capillary.rows.accepted": 38,
        "airflow.capillary.rows.rejected": 1,
        "airflow.capillary.rows.not_sent": 4,
    }
    summaries = [one for run in (seen.whole, seen.parts, seen.dry_run) for one in run.returned["import_badges"]]
    assert seen.metrics["airflow.capillary.requests"] == sum(summary["requests"] for summary in summaries) > 0
    assert seen.metrics["airflow.capillary.import.duration"] == 5


def test_an_asset_s_event_says_how_the_import_ended(seen: Seen) -> None:
    [(uri, _, index, extra)] = [one for one in seen.assets if one[1] == "watched" and one[0].endswith("/badges")]
    [summary] = seen.whole.returned["import_badges"]
    assert (uri, index) == ("capillary://api.example/badges", -1)
    counts = ("job_id", "rows_read", "accepted", "already_accepted", "rejected", "invalid", "unknown", "not_sent")
    assert {name: extra[name] for name in counts} == {name: summary[name] for name in counts}
    assert extra["dataset"] == seen.whole.returned["extract"][0]["parts"]
    assert extra["dry_run"] is False


def test_mapped_imports_share_one_event_with_failures(seen: Seen) -> None:
    events = [one for one in seen.assets if one[1] == "watched_parts"]
    [(_, _, index, extra)] = [one for one in events if one[0].endswith("/reports")]
    [returned] = seen.parts.returned["report"]
    assert index == -1
    assert (extra["jobs"], extra["rows_read"], extra["accepted"], extra["rejected"]) == (3, 9, 8, 1)
    assert extra["succeeded"] is False
    assert extra["report_html"] == returned["report_html"]
    assert sorted(extra["job_ids"]) == sorted(one["job_id"] for one in seen.parts.returned["import_badges"])
    # The outlets of the mapped task itself: an event for each part that went well, and a warning in each log.
    parts = [one for one in events if one[0].endswith("/badges")]
    assert sorted((one[2], one[3]["map_index"], one[3]["accepted"]) for one in parts) == [(0, 0, 4), (1, 1, 2)]
    assert seen.parts.log.count("This task is mapped and has outlets") == 3
    assert "This task is mapped" not in seen.whole.log


def test_a_dry_run_starts_no_waiting_dag(seen: Seen) -> None:
    [tried], [returned] = seen.dry_run.returned["import_badges"], seen.dry_run.returned["report"]
    assert (tried["dry_run"], tried["not_sent"], returned["not_sent"]) == (True, 4, 4)
    assert [one for one in seen.assets if one[1] == "watched_dry_run"] == []


def test_each_report_links_to_its_runs_imports(seen: Seen) -> None:
    assert [
        link.startswith("dags/watched") and link.endswith("/plugin/badge-imports-of-run") for link in seen.links
    ] == [True] * 3


def test_no_customer_leaves_in_telemetry(seen: Seen) -> None:
    stated = json.dumps([seen.lineage, seen.assets])
    assert seen.host in stated
    assert not [customer for rows in ROWS.values() for customer in rows if str(customer) in stated]


def test_nothing_warns_of_the_telling(seen: Seen) -> None:
    for log in (seen.whole.log, seen.parts.log, seen.dry_run.log):
        assert "failed; the task's own work is not affected" not in log
        assert "OpenLineage method failed" not in log
        assert not [line for line in log.splitlines() if "airflow_provider_capillary" in line and "Warning" in line]
