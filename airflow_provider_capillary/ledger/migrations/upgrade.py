"""Brings a ledger's tables to what this version of the package expects."""

from __future__ import annotations

import contextlib
import importlib
import threading
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_capillary.exceptions import ConfigurationError

HEAD = "0001"
_FIRST = "0001"
_VERSIONS = "capillary_alembic_version"  # the table in which Alembic keeps the revision
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
    if found is None:
        _create(connection)
    if found is not None or HEAD != _FIRST:
        _run_alembic(connection, found)
    return True


def current_revision(connection: sa.Connection) -> str | None:
    """Give the revision the ledger stands at, ``None`` where there is no ledger yet."""
    if not sa.inspect(connection).has_table(_VERSIONS):
        return None
    revision: str | None = connection.execute(sa.text(f"SELECT version_num FROM {_VERSIONS}")).scalar()
    return revision


def _create(connection: sa.Connection) -> None:
    """Make a new ledger of the first revision, without Alembic: to load it takes a tenth of a second."""
    first = importlib.import_module(f"{__package__}.versions.{_FIRST}_ledger")
    first.create(connection)
    key = sa.PrimaryKeyConstraint("version_num", name=f"{_VERSIONS}_pkc")
    version = sa.Table(_VERSIONS, sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False), key)
    version.create(connection)
    connection.execute(version.insert().values(version_num=_FIRST))


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
