"""The ledger's first tables.

One row of ``capillary_earned_badge`` is the truth about one identity. Its primary key is the identity
itself: two jobs cannot both claim it, and the keys of one night lie close together, which a hash would
undo. What was not accepted has its story in ``capillary_row_issue``. The trigger repeats the table of
transitions of ``core/row_state.py``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers a key by itself only where its type is exactly INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TRANSITIONS = """
    'planned>intent', 'intent>accepted', 'intent>rejected', 'intent>unknown', 'intent>planned',
    'unknown>accepted', 'unknown>planned', 'rejected>intent'
"""

_SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER capillary_earned_badge_begins BEFORE INSERT ON capillary_earned_badge
    WHEN NEW.state <> 'intent'
    BEGIN SELECT RAISE(ABORT, 'a row enters the ledger as an intent'); END
    """,
    f"""
    CREATE TRIGGER capillary_earned_badge_changes BEFORE UPDATE OF state ON capillary_earned_badge
    WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS})
    BEGIN SELECT RAISE(ABORT, 'this change of a row''s state is not allowed'); END
    """,
)

# The conditions stand in WHEN: a function is called only to refuse, not for every row.
_POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION capillary_refuse_row_state() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = TG_ARGV[0]; END $$
    """,
    """
    CREATE TRIGGER capillary_earned_badge_begins BEFORE INSERT ON capillary_earned_badge
    FOR EACH ROW WHEN (NEW.state <> 'intent')
    EXECUTE FUNCTION capillary_refuse_row_state('a row enters the ledger as an intent')
    """,
    f"""
    CREATE TRIGGER capillary_earned_badge_changes BEFORE UPDATE OF state ON capillary_earned_badge
    FOR EACH ROW WHEN (OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS}))
    EXECUTE FUNCTION capillary_refuse_row_state('this change of a row''s state is not allowed')
    """,
)


def upgrade() -> None:
    """Create the tables."""
    _create_registers()
    _create_jobs()
    _create_rows()
    triggers = _SQLITE_TRIGGERS if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL_TRIGGERS
    for statement in triggers:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: dropping the ledger forgets what was granted."""
    raise NotImplementedError("a ledger is not dropped by a downgrade: what was granted would be forgotten")


def _create_registers() -> None:
    op.create_table(
        "capillary_organisation",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("host", sa.Text, nullable=False),
    )
    op.create_table(
        "capillary_badge",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("badge_meta_id", sa.Text, nullable=False, unique=True),
    )


def _create_jobs() -> None:
    op.create_table(
        "capillary_job",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("job_id", sa.Text, nullable=False, unique=True),
        sa.Column("organisation_id", sa.BigInteger, sa.ForeignKey("capillary_organisation.id"), nullable=False),
        sa.Column("dag_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("map_index", sa.Integer, nullable=False),
        sa.Column("max_tries", sa.Integer, nullable=False),
        sa.Column("dry_run", sa.Boolean, nullable=False),
        sa.Column("dataset_fingerprint", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("sources", sa.Text, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("summary", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.CheckConstraint("state IN ('open', 'finished', 'failed')", name="capillary_job_state"),
    )
    op.create_table(
        "capillary_batch",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("row_count", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("sent_at", sa.Double, nullable=False),
        sa.Column("settled_at", sa.Double),
        sa.Column("status", sa.Integer),
        sa.Column("verdict", sa.Text),
    )
    op.create_index("capillary_batch_of_job", "capillary_batch", ["job_id"])


def _create_rows() -> None:
    op.create_table(
        "capillary_earned_badge",
        sa.Column("organisation_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("customer_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("badge_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("earned_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("occurrence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("row_number", sa.BigInteger, nullable=False),
        sa.Column("batch_id", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("earned_badge_id", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_index("capillary_earned_badge_of_job", "capillary_earned_badge", ["job_id", "row_number"])
    op.create_table(
        "capillary_row_issue",
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), primary_key=True, autoincrement=False),
        sa.Column("row_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("code", sa.BigInteger),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("badge_meta_id", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("line", sa.BigInteger, nullable=False),
        sa.Column("original", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
