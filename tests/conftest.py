"""An Airflow of its own for every process, in a folder that is gone afterwards; and how processes share the tests."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.units import UnitScheduling, place

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> UnitScheduling | None:
    if config.getoption("dist") != "load":
        return None  # a person asked for another way
    config.option.loadscopereorder = False
    return UnitScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.nodeid))
