"""Which tests stay together where several processes of ``pytest -n`` share them, and which begin first."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # it has none

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


def place(nodeid: str) -> int:
    """A smaller number begins earlier."""
    unit = unit_of(nodeid)
    return LONGEST.index(unit) if unit in LONGEST else len(LONGEST)
