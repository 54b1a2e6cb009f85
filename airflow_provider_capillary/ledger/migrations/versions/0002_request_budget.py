"""A budget of requests that all tasks on the ledger share: when the last request of an organisation has its turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table. It is keyed by name: a budget is spent before a job, and its organisation, are noted."""
    op.create_table(
        "capillary_request_budget",
        sa.Column("organisation", sa.Text, primary_key=True),
        sa.Column("turn", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop the table: a budget begins anew."""
    op.drop_table("capillary_request_budget")
