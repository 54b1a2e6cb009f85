"""Batches that were accepted: what holds for all rows of a batch is written once, and not into each row.

A row of ``capillary_accepted_batch`` says: every row of that batch that still stands as an intent is accepted, with
the ids that stand there by row number. ``capillary_row`` is how rows are read: each with the state that it has. Rows
of before keep their state in themselves, as do all rows that are not accepted by the first reply.

A row may leave its intent for another state than accepted only while its batch is not accepted: a trigger says so,
or what was granted could be sent again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_IS_ACCEPTED_WITH_BATCH = """
    e.state = 'intent' AND EXISTS (SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = e.batch_id)
"""
#: ``has_id`` is cheap; ``earned_badge_id`` looks into the batch's ids, so ask for it of few rows at a time.
_VIEW = f"""
    CREATE VIEW capillary_row AS
    SELECT e.organisation_id, e.customer_id, e.badge_id, e.earned_at, e.occurrence,
        CASE WHEN {_IS_ACCEPTED_WITH_BATCH} THEN 'accepted' ELSE e.state END AS state,
        e.job_id, e.row_number, e.batch_id, e.attempt, e.expires_at, e.doubt,
        (e.earned_badge_id IS NOT NULL OR {_IS_ACCEPTED_WITH_BATCH}) AS has_id,
        CASE WHEN e.state = 'intent'
            THEN (SELECT {{id}} FROM capillary_accepted_batch a WHERE a.batch_id = e.batch_id)
            ELSE e.earned_badge_id END AS earned_badge_id
    FROM capillary_earned_badge e
"""
_SQLITE = (
    _VIEW.format(id="json_extract(a.earned_badge_ids, '$.\"' || e.row_number || '\"')"),
    """
    CREATE TRIGGER capillary_accepted_batch_stands AFTER UPDATE OF state ON capillary_earned_badge
    WHEN OLD.state = 'intent' AND NEW.state NOT IN ('intent', 'accepted')
        AND EXISTS (SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = OLD.batch_id)
    BEGIN SELECT RAISE(ABORT, 'this row was accepted with its batch'); END
    """,
)
_POSTGRESQL = (
    _VIEW.format(id="a.earned_badge_ids::json ->> e.row_number::text"),
    """
    CREATE FUNCTION capillary_refuse_accepted_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM capillary_accepted_batch a WHERE a.batch_id = OLD.batch_id) THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'this row was accepted with its batch';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER capillary_accepted_batch_stands AFTER UPDATE OF state ON capillary_earned_badge
    FOR EACH ROW WHEN (OLD.state = 'intent' AND NEW.state NOT IN ('intent', 'accepted'))
    EXECUTE FUNCTION capillary_refuse_accepted_row()
    """,
)


def upgrade() -> None:
    """Add a table, which begins empty, a view and a trigger. No row is touched."""
    op.create_table(
        "capillary_accepted_batch",
        sa.Column(
            "batch_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("capillary_batch.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("earned_badge_ids", sa.Text, nullable=False),  # JSON: row number -> id
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(sa.text(statement.replace(":", "\\:")))


def downgrade() -> None:
    """Refuse: which rows were accepted would be forgotten."""
    raise NotImplementedError("a ledger is not downgraded: what was granted would be forgotten")
