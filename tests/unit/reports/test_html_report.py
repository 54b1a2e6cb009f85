"""The page as a browser's parser sees it: whole, silent, and with all that others wrote as text."""

from __future__ import annotations

import base64
import hashlib
import re
import tracemalloc
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_capillary.core.reasons import REGISTRY
from airflow_provider_capillary.core.row_state import RowState
from airflow_provider_capillary.ledger.facts import Issues, Job, JobPlan, JobScope
from airflow_provider_capillary.ledger.ledger import Ledger
from airflow_provider_capillary.reports import wording
from airflow_provider_capillary.reports.error_report import survey
from airflow_provider_capillary.reports.html_report import write_html_report
from airflow_provider_capillary.reports.report_facts import ReportFacts

from .conftest import MakeIssue, Recorded, Report

BADGE = "64fa0c8d3b9e2a1f5c7d8e90"
VOID = {"meta", "link", "br", "hr", "img", "input"}
#: All that the page is made of.
TAGS = {
    *("html", "head", "title", "style", "body", "main", "header", "section", "footer", "div", "p", "span", "strong"),
    *("h1", "h2", "h3", "ul", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "a", "bdi", "code"),
    *("time", "details", "summary", "svg", "rect", "meta"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "href", "scope", "role", "aria-label"),
    *("aria-hidden", "viewbox", "preserveaspectratio", "x", "width", "height", "datetime", "data-name"),
}


class Page(HTMLParser):
    """Tags, attributes and text of a page; a tag that is not closed in its turn is refused."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.policy = self.style = ""
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def words(self) -> str:
        """The text with single blanks, and one between what stands in different tags."""
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of this kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(tmp_path: Path, report: Report) -> Callable[..., Page]:
    """Writes the report of jobs, and parses its page."""

    def write(*jobs: Job) -> Page:
        report(*jobs)
        return Page((tmp_path / "report.html").read_text("utf-8"))

    return write


def silent(page: Page) -> None:
    """Refuse whatever could run, load, send, or be drawn otherwise than the page's own sheet says."""
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    assert {link["href"] for link in page.of("a")} <= {"errors.csv", "summary.json", "may_be_granted_twice.csv"}
    assert re.search(r"url\(|@import|expression|https?:", page.style) is None
    assert len(page.of("style")) == 1


def test_the_page_loads_nothing(page: Callable[..., Page], recorded: Recorded, issue: MakeIssue) -> None:
    found = page(recorded([issue(1, RowState.REJECTED, badge_meta_id=BADGE), issue(2, RowState.ACCEPTED)], accepted=1))
    silent(found)
    digest = base64.b64encode(hashlib.sha256(found.style.encode()).digest()).decode()
    assert found.policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}</style>",
    "</title></head><body onload=alert(1)>",
    "javascript:alert(1)",
    "<!-- ",
    "]]><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "&lt;b&gt;",
    "\u202etxt.exe\u2066",
    "\x00\x1b[2J\ud800",
    "<" * 100_000,
]


def everywhere(attack: str) -> ReportFacts:
    """Facts in which whatever others could have written is the attack."""
    evil = msgspec.json.decode(
        msgspec.json.encode(
            {
                "total": {
                    "jobs": 2,
                    "counted": 2,
                    "counts": dict.fromkeys(
                        ("rows_read", "requests", "batches", "already_accepted", "rejected", "unknown", "not_sent"), 0
                    )
                    | {"accepted": 1, "invalid": 2},
                    "problems": PROBLEMS,
                    "notes": NOTES,
                },
                "jobs": [JOB, JOB | {"map_index": 1}],
                "ledger": "?",
            }
        ).replace(b'"?"', msgspec.json.encode(attack.encode("utf-8", "replace").decode())),
        type=ReportFacts,
    )
    assert isinstance(evil, ReportFacts)
    return evil


PROBLEMS: dict[str, Any] = {
    "rows": 2,
    "by_state": {"rejected": 0, "invalid": 2, "unknown": 0, "not_sent": 0},
    "reasons": [{"stage": "?", "code": 7, "message": "?", "rows": 2}],
    "by_badge": [{"badge_meta_id": "?", "rejected": 0, "invalid": 2, "unknown": 0, "not_sent": 0}],
}
NOTES: dict[str, Any] = {
    "rows": 1,
    "may_be_granted_twice": 1,
    "reasons": [{"stage": "?", "code": None, "message": "?", "rows": 1}],
}
JOB: dict[str, Any] = {
    **dict.fromkeys(("job_id", "organisation", "dag_id", "task_id", "run_id", "state"), "?"),
    "map_index": 0,
    "dry_run": False,
    "started_at": "2025-01-15T12:00:00+00:00",
    "finished_at": "2025-01-15T12:00:01+00:00",
    "sources": ["?"] * 9,
    "rows": 3,
    "counts": dict.fromkeys(("already_accepted", "rejected", "unknown", "not_sent"), 0)
    | {"accepted": 1, "invalid": 2, "rows_read": 3, "requests": 1, "batches": 1},
    "problems": PROBLEMS,
    "notes": NOTES,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_others_wrote_is_text_wherever_it_stands(tmp_path: Path, attack: str, jobs: int) -> None:
    facts = everywhere(attack)
    facts = msgspec.structs.replace(facts, jobs=facts.jobs[:jobs])
    harmless = msgspec.structs.replace(everywhere("x"), jobs=everywhere("x").jobs[:jobs])
    pages = []
    for one in (facts, harmless):
        write_html_report(tmp_path / "report.html", one)
        pages.append((tmp_path / "report.html").read_text("utf-8"))
    found, plain = map(Page, pages)
    silent(found)
    # the same tags in the same order: the text has changed, and nothing else
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.style == plain.style
    assert len(pages[0]) < len(pages[1]) + 60_000
    assert re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", pages[0]) is None
    if attack.isprintable() and len(attack) < 100:
        assert found.texts.count(attack) >= 8


@pytest.mark.parametrize("state", [RowState.REJECTED, RowState.INVALID, RowState.UNKNOWN, RowState.NOT_SENT])
def test_each_state_says_what_to_do(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue, state: RowState
) -> None:
    words = page(recorded([issue(number, state) for number in (1, 2, 3)], accepted=997)).words
    title = wording.STATES[state].title
    assert f"3 {title} {wording.STATES[state].meaning} {wording.STATES[state].to_do}" in words
    assert f"3 {title} 0.3%" in words
    assert "3 rows need attention" in words
    assert "997 accepted 99.7%" in words
    for other in set(wording.STATES) - {state}:
        assert not wording.STATES[other].to_do or wording.STATES[other].to_do not in words


def test_a_flawless_import_asks_for_nothing(page: Callable[..., Page], recorded: Recorded) -> None:
    found = page(recorded([], accepted=30_124))
    assert "Every row is accepted" in found.words
    assert "30,124 rows read" in found.words
    assert not any(words.to_do and words.to_do in found.words for words in wording.STATES.values())
    assert found.of("a") == []


def test_reasons_have_code_and_stage_and_no_values(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue
) -> None:
    issues = [issue(n, RowState.REJECTED, code=1054, message=f"no badge for customer {9_000_000 + n}") for n in (1, 2)]
    found = page(recorded(issues, accepted=1))
    assert "2 code 1054 no badge for customer … 1054: no such badge" in found.words
    assert "api-1054 sending" in found.words
    assert REGISTRY["api-1054"].to_do in found.words
    assert "900000" not in found.words


def test_badges_have_states_and_rows_without_badge_too(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue
) -> None:
    issues = [
        issue(1, RowState.REJECTED, badge_meta_id=BADGE),
        issue(2, RowState.UNKNOWN, badge_meta_id=BADGE),
        issue(3, RowState.INVALID),
    ]
    found = page(recorded(issues))
    assert f"{BADGE} 1 rejected 1 unknown 2 1 0 1 0" in found.words
    assert "no valid badge id 1 invalid 1 0 1 0 0" in found.words
    assert "1 rejected, 1 unknown" in [svg.get("aria-label") for svg in found.of("svg")]


def test_badges_have_the_ledgers_names(
    page: Callable[..., Page], ledger: Ledger, recorded: Recorded, issue: MakeIssue
) -> None:
    ledger.name_badges({BADGE: "Big <b>basket</b>"})

    found = page(recorded([issue(1, RowState.REJECTED, badge_meta_id=BADGE)]))

    assert f"Big <b>basket</b> {BADGE} 1 rejected" in found.words


def test_rows_perhaps_double_are_an_alert(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue, tmp_path: Path
) -> None:
    twice = [issue(n, RowState.ACCEPTED, message="sent again without proof") for n in (1, 2)]
    proven = issue(3, RowState.ACCEPTED, stage="verify", message="found by reading back")
    found = page(recorded([*twice, proven], accepted=3))
    assert "2 accepted rows may be granted twice" in found.words
    assert wording.MAY_BE_TWICE.to_do in found.words
    assert "3 accepted rows had no proof in the first reply. 1 of them was settled afterwards" in found.words
    [link] = found.of("a")
    assert link["href"] == "may_be_granted_twice.csv"
    assert (tmp_path / str(link["href"])).read_bytes().count(b"\r\n") == 3


def test_a_dry_run_is_marked(page: Callable[..., Page], recorded: Recorded, issue: MakeIssue) -> None:
    counts = {"rows_read": 10, "accepted": 0, "already_accepted": 1, "rejected": 0, "invalid": 2, "unknown": 0}
    issues = [issue(n, RowState.INVALID, stage="validate") for n in (1, 2)]
    found = page(recorded(issues, accepted=8, summary=counts | {"not_sent": 7, "dry_run": True, "requests": 0}))
    assert "Dry run: nothing was sent; 2 rows need attention" in found.words
    assert "7 would be sent 70.0%" in found.words
    assert "succeeded dry run" in found.words
    assert wording.STATES[RowState.NOT_SENT].to_do not in found.words


def test_an_unfinished_import_is_marked(page: Callable[..., Page], recorded: Recorded, issue: MakeIssue) -> None:
    found = page(recorded([issue(1, RowState.REJECTED)], accepted=9, ended=False))
    assert "The import has not ended; 1 row needs attention so far" in found.words
    assert wording.NOT_ENDED in found.words
    assert "10 rows in the dataset" in found.words
    assert "9 not known yet 90.0%" in found.words
    assert "0 accepted" in found.words


def test_times_have_a_zone_and_rates_a_period(
    tmp_path: Path, page: Callable[..., Page], ledger: Ledger, recorded: Recorded
) -> None:
    facts = survey(ledger, [recorded([], accepted=600).job_id]).facts
    job = msgspec.structs.replace(facts.jobs[0], finished_at="2025-01-15T12:03:20+00:00")
    write_html_report(tmp_path / "report.html", msgspec.structs.replace(facts, jobs=(job,)))
    found = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "Started 2025-01-15 12:00:00 UTC Ended 2025-01-15 12:03:20 UTC" in found.words
    assert "From start to end 3 min 20 s Rows a second 3.0 Import requests 2 Batches 1" in found.words
    assert {"2025-01-15T12:00:00+00:00"} <= {time["datetime"] for time in found.of("time")}


def test_sources_show_no_password(tmp_path: Path, ledger: Ledger, page: Callable[..., Page], issue: MakeIssue) -> None:
    sources = tuple(f"s3://key:hush-hush@bucket/{n}.csv" for n in range(9))
    job = ledger.open_job(JobScope("d", "t", "r"), JobPlan("shop", "https://api", "f", 0, {}, sources))
    found = page(job)
    assert "s3://key:…@bucket/0.csv" in found.words
    assert "Dataset 4 more" in found.words
    assert "hush" not in found.words
    ledger.record(job, [Issues([msgspec.structs.replace(issue(1, RowState.INVALID), source=sources[0])])])
    page(job)
    for name in ("summary.json", "errors.csv", "report.html"):
        written = (tmp_path / name).read_bytes()
        assert b"hush" not in written
        assert b"@bucket/0.csv" in written


def test_a_thousand_imports_are_folded(tmp_path: Path, ledger: Ledger, recorded: Recorded, issue: MakeIssue) -> None:
    facts = survey(ledger, [recorded([], accepted=3, map_index=0).job_id]).facts
    bad = survey(ledger, [recorded([issue(1, RowState.REJECTED)], map_index=700).job_id]).facts.jobs[0]
    good = [msgspec.structs.replace(facts.jobs[0], map_index=index) for index in range(1_024)]
    jobs = (*good[:700], bad, *good[701:])
    write_html_report(tmp_path / "report.html", msgspec.structs.replace(facts, jobs=jobs))
    text = (tmp_path / "report.html").read_text("utf-8")
    in_front, folded = text.split("1,023 others, of which every row is accepted")
    assert "import [700]" in in_front
    assert len(re.findall(r"import \[\d+\]", in_front)) == 1
    assert len(re.findall(r"import \[\d+\]", folded)) == 1_023
    assert "1 of them needs attention" in in_front
    assert len(text) < 1_500_000


def test_a_thousand_badges_are_folded(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue, tmp_path: Path
) -> None:
    issues = [issue(n, RowState.REJECTED, badge_meta_id=f"{n % 1_000:024x}") for n in range(1, 1_002)]
    page(recorded(issues))
    in_front, folded = (tmp_path / "report.html").read_text("utf-8").split("980 more badges")
    assert in_front.index(f"{1:024x}") < in_front.index(f"{0:024x}")
    assert folded.count('<bdi class="id">0000') == 980


def test_the_page_takes_bounded_memory(tmp_path: Path, ledger: Ledger, recorded: Recorded, issue: MakeIssue) -> None:
    issues = [issue(n, RowState.REJECTED, badge_meta_id=f"{n:024x}", message="m" * n) for n in range(1, 300)]
    facts = survey(ledger, [recorded(issues).job_id]).facts
    many = msgspec.structs.replace(facts, jobs=facts.jobs * 100)
    write_html_report(tmp_path / "report.html", many)  # what is loaded and compiled once is not counted
    tracemalloc.start()
    write_html_report(tmp_path / "report.html", many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (tmp_path / "report.html").stat().st_size * 10


def test_remarks_on_rows_of_other_states_are_left_out(
    page: Callable[..., Page], recorded: Recorded, issue: MakeIssue
) -> None:
    found = page(recorded([issue(1, RowState.ALREADY_ACCEPTED, message="accepted in the meantime")], accepted=2))
    assert "Every row is accepted" in found.words
    assert "in the meantime" not in found.words
