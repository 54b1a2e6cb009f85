"""What this package reads of Airflow's configuration, whether or not Airflow knows that this provider is there."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk.configuration import conf

SECTION = "capillary"


def option(name: str) -> str | None:
    """An option of the ``[capillary]`` section; ``None`` where it is not set or empty."""
    return conf.get(SECTION, name, fallback=None) or None


def configured_executors() -> str:
    """``[core] executor`` as it stands."""
    return str(conf.get("core", "executor", fallback="LocalExecutor"))


def airflow_home() -> Path:
    """The folder AIRFLOW_HOME, absolute."""
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser().absolute()
