"""Gives the versions and the machine that the figures belong to."""

from __future__ import annotations

import platform
from importlib.metadata import version

_NAMED = ("airflow-provider-capillary", "apache-airflow", "msgspec", "pyarrow", "requests", "sqlalchemy", "psycopg")


def versions() -> dict[str, str]:
    """Python and the packages that matter here; the peers' are in their pins."""
    return {"python": platform.python_version()} | {name: version(name) for name in _NAMED}
