"""Every sample of the documentation: it is run by a test, or it is parsed and its page says why it cannot be run."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from airflow.sdk import DAG

from airflow_provider_capillary.simulator.fault_plan import read_plan
from tests.samples import CHECKOUT, Block, blocks

ALL = blocks()
RUNNERS = ("tests/airflow/test_doc_samples.py", "tests/airflow/command_line/test_doc_samples.py")
#: Blocks that no test can run here: an account at a warehouse, Docker, a server that does not end, settings.
ONLY_PARSED = {"python": 3, "shell": 10, "sql": 1}
every_python = pytest.mark.parametrize(
    "block", [one for one in ALL if one.language == "python"], ids=lambda one: f"{one.document}-{one.name}"
)


@every_python
def test_every_python_sample_loads_or_is_a_test(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(block.text, block.document, "exec")
    if "def test_" in block.text:
        assert block.name
        return
    made: list[DAG] = []
    enter = DAG.__enter__

    def remembered(dag: DAG) -> DAG:
        made.append(dag)
        return enter(dag)

    monkeypatch.setattr(DAG, "__enter__", remembered)
    exec(code, {"__name__": "sample"})
    [dag] = made
    assert dag.tasks
    dag.check_cycle()


def test_every_block_says_how_it_is_tried() -> None:
    unsaid = [one for one in ALL if one.language in ("shell", "bash", "sql") and not (one.name or one.why)]
    assert unsaid == []
    assert {one.language for one in ALL} <= {"python", "shell", "json", "sql", "text"}


def test_readme_has_no_untested_block() -> None:
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    # three of Python are executed by test_docs.py; of shell, one installs, and one is the connection that is read there
    assert Counter(re.findall(r"^```(\w+)$", readme, re.MULTILINE)) == {"python": 3, "shell": 2}


def test_every_named_sample_is_run() -> None:
    names = [one.name for one in ALL if one.name]
    assert len(names) == len(set(names))
    tests = "".join((CHECKOUT / file).read_text("utf-8") for file in RUNNERS)
    run = re.findall(r"(?:sample|run|commands)\(\s*\"([\w-]+)\"|dag = \"([\w-]+)\"", tests)
    assert set(names) == {first or second for first, second in run}
    assert Counter(one.language for one in ALL if one.why) == ONLY_PARSED


def test_every_json_sample_is_valid() -> None:
    texts = [one.text for one in ALL if one.language == "json"]
    plans = [read_plan(json.loads(text)) for text in texts]
    assert [len(plan.faults) for plan in plans] == [2]
    page = (CHECKOUT / "docs/how-to/test-your-dag.md").read_text("utf-8")
    faults = [json.loads(cell) for cell in re.findall(r"`(\{\"kind\".+?\})`", page)]
    assert len(read_plan({"faults": faults}).faults) == len(faults) >= 6
