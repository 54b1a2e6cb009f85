"""What holds for every test: an Airflow of its own, in a folder that is gone afterwards; and which process runs it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # it has none

# Before anything imports airflow, which reads these once: a person's own Airflow is neither seen nor touched.
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
_HOME = Path(tempfile.mkdtemp(prefix="capillary-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
    }
)

#: Minutes each, and most of it waiting. They begin first, or the others would be done long before them.
LONGEST = ("tests/end_to_end/test_scheduler.py", "tests/browser", "tests/airflow", "tests/end_to_end")
#: Their files share servers that take seconds to start, so one process runs all of them. All others go file by file.
SHARING = (
    "tests/airflow",
    "tests/airflow/drills",
    "tests/browser",
    "tests/end_to_end",
    "tests/integration/object_storage",
)
#: Files there that share nothing with their neighbours.
ALONE = (
    "tests/airflow/test_connection_form.py",
    "tests/airflow/test_dag_processor.py",
    "tests/airflow/test_demo.py",
    "tests/airflow/test_installed_wheel.py",
    "tests/airflow/test_provider.py",
    "tests/end_to_end/test_scheduler.py",
)


def unit_of(nodeid: str) -> str:
    """The folder or file with which a test stays together."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0].replace("tests/airflow/command_line", "tests/airflow")
    return folder if folder in SHARING and file not in ALONE else file


class UnitScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Gives each process of ``pytest -n`` one unit after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> UnitScheduling | None:
    if config.getoption("dist") != "load":
        return None  # a person asked for another way
    config.option.loadscopereorder = False
    return UnitScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        unit = unit_of(item.nodeid)
        return LONGEST.index(unit) if unit in LONGEST else len(LONGEST)

    items.sort(key=place)
