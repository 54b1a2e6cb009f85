"""Rows that are sent again without proof keep that doubt for ever: whoever finds them accepted tells it.

The column is empty for all others, and both databases add it without touching a row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Which rows were sent again before it was there is told by the issues of their jobs only."""
    op.add_column("capillary_earned_badge", sa.Column("doubt", sa.Text))


def downgrade() -> None:
    """Refuse: which rows may be granted twice would be forgotten."""
    raise NotImplementedError("a ledger is not downgraded: which rows may be granted twice would be forgotten")
