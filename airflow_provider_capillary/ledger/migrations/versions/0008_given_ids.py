"""Ids that the API gave and that accept no row: of replies without proof, and of replies that came too late.

``customer_id`` and ``badge_meta_id`` are what the API said. ``earned_at`` and ``occurrence`` stand there where only one
row of the batch can be meant: together with the two before they are that row's identity. ``is_proven``: the reply held
every proof, and came when the row was no longer the batch's.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# SQLite numbers a key by itself only where its type is exactly INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a table, which begins empty, and its indexes. No row is touched."""
    op.create_table(
        "capillary_given_id",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("batch_id", sa.BigInteger, sa.ForeignKey("capillary_batch.id"), nullable=False),
        sa.Column("organisation_id", sa.BigInteger, sa.ForeignKey("capillary_organisation.id"), nullable=False),
        sa.Column("earned_badge_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.BigInteger),
        sa.Column("badge_meta_id", sa.Text),
        sa.Column("earned_at", sa.BigInteger),
        sa.Column("occurrence", sa.Integer),
        sa.Column("is_proven", sa.Boolean, nullable=False),  # its reply held every proof, but came too late
    )
    op.create_index("capillary_given_id_of_batch", "capillary_given_id", ["batch_id"])
    proven = sa.text("is_proven")
    op.create_index(
        "capillary_given_id_proven",
        "capillary_given_id",
        ["organisation_id", "customer_id"],
        sqlite_where=proven,
        postgresql_where=proven,
    )


def downgrade() -> None:
    """Refuse: what was granted under these ids could no longer be taken back."""
    raise NotImplementedError("a ledger is not downgraded: what was granted would be forgotten")
