"""Alembic's entry: runs on the connection that ``upgrade`` hands in, in its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="capillary_alembic_version")
context.run_migrations()
