"""SQLite's triggers ask the usual question first, and after the change: a third of a row's cost was theirs.

After, because SQLite looks a row up a second time when a trigger ran before its change. What is refused is the same;
a refusal takes back the whole statement, as it did before. PostgreSQL's triggers cost little, and stay.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TRANSITIONS = """
    'planned>intent', 'intent>accepted', 'intent>rejected', 'intent>unknown', 'intent>planned',
    'unknown>accepted', 'unknown>planned', 'rejected>intent', 'accepted>revoked'
"""

_SQLITE_TRIGGERS = (
    "DROP TRIGGER IF EXISTS capillary_earned_badge_begins",
    "DROP TRIGGER IF EXISTS capillary_earned_badge_changes",
    """
    CREATE TRIGGER capillary_earned_badge_begins AFTER INSERT ON capillary_earned_badge
    WHEN NEW.state <> 'intent'
    BEGIN SELECT RAISE(ABORT, 'a row enters the ledger as an intent'); END
    """,
    f"""
    CREATE TRIGGER capillary_earned_badge_changes AFTER UPDATE OF state ON capillary_earned_badge
    WHEN (OLD.state <> 'intent' OR NEW.state <> 'accepted')
        AND OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS})
    BEGIN SELECT RAISE(ABORT, 'this change of a row''s state is not allowed'); END
    """,
)


def upgrade() -> None:
    """Exchange the triggers. No row is touched."""
    if op.get_bind().dialect.name == "sqlite":
        for statement in _SQLITE_TRIGGERS:
            op.execute(statement)


def downgrade() -> None:
    """Nothing: the older triggers refuse just the same."""
