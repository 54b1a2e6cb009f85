"""Brings a ledger's tables to what this version of the package expects."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_capillary.exceptions import ConfigurationError

HEAD = "0001"
SCRIPTS = Path(__file__).parent
_LOCK = 0x_CA91_11A9  # any constant: two workers that start at once must not both migrate
_ALEMBIC = threading.Lock()  # Alembic's context is global to the process


def upgrade(connection: sa.Connection) -> bool:
    """Upgrade within the caller's transaction; say whether anything was done.

    Raises ``ConfigurationError`` where the ledger was written by a newer version of the package.
    """
    if current_revision(connection) == HEAD:
        return False
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = current_revision(connection)
    if found == HEAD:
        return False
    _run_alembic(connection, found)
    return True


def current_revision(connection: sa.Connection) -> str | None:
    """Give the revision the ledger stands at, ``None`` where there is no ledger yet."""
    if not sa.inspect(connection).has_table("capillary_alembic_version"):
        return None
    revision: str | None = connection.execute(sa.text("SELECT version_num FROM capillary_alembic_version")).scalar()
    return revision


def _run_alembic(connection: sa.Connection, found: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    with _ALEMBIC, contextlib.ExitStack() as stack:
        stack.callback(config.attributes.clear)
        try:
            command.upgrade(config, HEAD)
        except CommandError as error:
            raise ConfigurationError(
                f"the ledger stands at revision {found}, which this version of airflow-provider-capillary "
                "does not know: it was written by a newer one. Install that version or a later one"
            ) from error
