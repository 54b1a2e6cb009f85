"""What is done to rows outside an import: doubts settled, by a read or a person, and badges revoked.

``capillary_settlement`` says of each settled row by what proof or by whose word. ``capillary_revocation`` is
written before the API is asked and again when it has answered, one row for each earned badge, for ever: a row
without an answer may be revoked or not, and asking again tells. The trigger learns the one new change of a row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SQLite numbers a key by itself only where its type is exactly INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TRANSITIONS = """
    'planned>intent', 'intent>accepted', 'intent>rejected', 'intent>unknown', 'intent>planned',
    'unknown>accepted', 'unknown>planned', 'rejected>intent', 'accepted>revoked'
"""

_SQLITE_TRIGGERS = (
    "DROP TRIGGER IF EXISTS capillary_earned_badge_changes",
    f"""
    CREATE TRIGGER capillary_earned_badge_changes BEFORE UPDATE OF state ON capillary_earned_badge
    WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS})
    BEGIN SELECT RAISE(ABORT, 'this change of a row''s state is not allowed'); END
    """,
)

_POSTGRESQL_TRIGGERS = (
    "DROP TRIGGER IF EXISTS capillary_earned_badge_changes ON capillary_earned_badge",
    f"""
    CREATE TRIGGER capillary_earned_badge_changes BEFORE UPDATE OF state ON capillary_earned_badge
    FOR EACH ROW WHEN (OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS}))
    EXECUTE FUNCTION capillary_refuse_row_state('this change of a row''s state is not allowed')
    """,
)


def upgrade() -> None:
    """Add two tables, which begin empty, and exchange the trigger. No row is touched."""
    op.create_table(
        "capillary_settlement",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        sa.Column("row_number", sa.BigInteger, nullable=False),
        *_identity(),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("settled_by", sa.Text, nullable=False),
        sa.Column("settled_at", sa.Double, nullable=False),
        sa.CheckConstraint("state IN ('accepted', 'planned')", name="capillary_settlement_state"),
        sa.CheckConstraint("proof IN ('read', 'person')", name="capillary_settlement_proof"),
    )
    op.create_index("capillary_settlement_of_job", "capillary_settlement", ["job_id"])
    op.create_table(
        "capillary_revocation",
        sa.Column("organisation_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("earned_badge_id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        *_identity()[1:],
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.Column("answer", sa.Text),
        sa.Column("freed_by", sa.Text),
        sa.Column("freed_at", sa.Double),
        sa.CheckConstraint(
            "answer IN ('revoked', 'not_active', 'refused', 'unconfirmed')", name="capillary_revocation_answer"
        ),
    )
    op.create_index("capillary_revocation_of_job", "capillary_revocation", ["job_id"])
    triggers = _SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL_TRIGGERS
    for statement in triggers:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: what was revoked, and by whose word rows were settled, would be forgotten."""
    raise NotImplementedError("a ledger is not downgraded: what was revoked would be forgotten")


def _identity() -> list[sa.Column[int]]:
    names = ("organisation_id", "customer_id", "badge_id", "earned_at")
    columns: list[sa.Column[int]] = [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
    return [*columns, sa.Column("occurrence", sa.Integer, nullable=False)]
