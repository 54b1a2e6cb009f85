"""The ledger's tables.

A row of ``capillary_earned_badge`` is an identity and the batch that the row belongs to; its primary key is the
identity, so two jobs cannot both claim it, and the keys of one night lie close together. The state stands with the
batch. A row has a state of its own, in ``capillary_odd_row``, only where it differs from its batch. The batch keeps
its rows in the dataset's order, and their ids, as packed arrays: see ``ledger/packing.py``.

The triggers repeat the table of transitions of ``core/row_state.py``. None of them runs for a row that is new.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers a key only where its type is exactly INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NOW = sa.text("SELECT CAST(strftime('%s', 'now') AS REAL)"), sa.text("SELECT extract(epoch FROM now())::float8")

#: Of a row, in itself or with its batch.
_TRANSITIONS = """
    'intent>accepted', 'intent>rejected', 'intent>unknown', 'intent>planned',
    'unknown>accepted', 'unknown>planned', 'accepted>revoked'
"""
#: A row in these states may leave its batch for the next one, which begins as an intent.
_MAY_BE_CLAIMED = "'planned', 'rejected'"
_BATCH_STATES = "'intent', 'accepted', 'planned', 'unknown'"
_ODD_STATES = "'accepted', 'rejected', 'planned', 'unknown', 'revoked'"
_PROOFS = "'reply', 'read', 'person', 'seed'"

_SAME_ROW = """
    x.customer_id = e.customer_id AND x.badge_id = e.badge_id AND x.earned_at = e.earned_at
    AND x.occurrence = e.occurrence AND x.batch_id = e.batch_id
"""
_VIEW = f"""
    CREATE VIEW capillary_row AS
    SELECT g.organisation_id, e.customer_id, g.badge_meta_id, e.badge_id, e.earned_at, e.occurrence,
        coalesce(x.state, b.state) AS state, coalesce(x.job_id, b.job_id) AS job_id, e.batch_id, b.attempt,
        b.request_id, b.sent_at, d.doubt
    FROM capillary_earned_badge e
    JOIN capillary_batch b ON b.id = e.batch_id
    JOIN capillary_badge g ON g.id = e.badge_id
    LEFT JOIN capillary_odd_row x ON {_SAME_ROW}
    LEFT JOIN capillary_doubt d ON d.customer_id = e.customer_id AND d.badge_id = e.badge_id
        AND d.earned_at = e.earned_at AND d.occurrence = e.occurrence
"""

_NOT_ALLOWED = "this change of a row''s state is not allowed"
_BEGINS = "a batch enters the ledger as an intent"
_BATCH_STAYS = "a batch stays as long as its rows"
_ROW_STAYS = "a row leaves its batch only when it is free to be sent"
_ODD_STAYS = "a row loses its own state only when it is sent again"

#: The state of the batch that the row belongs to; none where it does not belong to the batch that is named.
_BATCH_STATE = """
    (SELECT b.state FROM capillary_batch b JOIN capillary_earned_badge e ON e.batch_id = b.id
    WHERE b.id = NEW.batch_id AND e.customer_id = NEW.customer_id AND e.badge_id = NEW.badge_id
        AND e.earned_at = NEW.earned_at AND e.occurrence = NEW.occurrence)
"""
# One text and LIKE: for every row SQLite would make a table out of the values of an IN, which costs more than the look.
_ODD_BEGINNINGS = " ".join(f"{_TRANSITIONS}, 'unknown>unknown'".replace("'", " ").replace(",", " ").split())
_ODD_MAY_BEGIN = f"""
    ' {_ODD_BEGINNINGS} ' NOT LIKE '% ' || coalesce({_BATCH_STATE}, 'missing') || '>' || NEW.state || ' %'
"""
_OLD_STATE = """
    coalesce(
        (SELECT x.state FROM capillary_odd_row x WHERE x.customer_id = OLD.customer_id AND x.badge_id = OLD.badge_id
            AND x.earned_at = OLD.earned_at AND x.occurrence = OLD.occurrence AND x.batch_id = OLD.batch_id),
        (SELECT b.state FROM capillary_batch b WHERE b.id = OLD.batch_id), 'missing')
"""
_IS_SEALED = "(SELECT sealed_for FROM capillary_ledger) IS NOT NULL"
_CHANGES = f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_TRANSITIONS})"

_SEALED = "the ledger is sealed: it was copied to another place"

#: (name, when, table, condition that refuses, what is said)
_GUARDS = (
    ("capillary_batch_begins", "BEFORE INSERT", "capillary_batch", "NEW.state <> 'intent'", _BEGINS),
    ("capillary_batch_changes", "BEFORE UPDATE OF state", "capillary_batch", _CHANGES, _NOT_ALLOWED),
    ("capillary_batch_stays", "BEFORE DELETE", "capillary_batch", "1 = 1", _BATCH_STAYS),
    # every commit of a job counts itself there
    ("capillary_job_begins_unsealed", "BEFORE INSERT", "capillary_job", _IS_SEALED, _SEALED),
    ("capillary_job_goes_on_unsealed", "BEFORE UPDATE OF commits", "capillary_job", _IS_SEALED, _SEALED),
    (
        "capillary_earned_badge_leaves",
        "BEFORE UPDATE OF batch_id",
        "capillary_earned_badge",
        f"{_OLD_STATE} NOT IN ({_MAY_BE_CLAIMED})",
        _ROW_STAYS,
    ),
    ("capillary_odd_row_begins", "BEFORE INSERT", "capillary_odd_row", _ODD_MAY_BEGIN, _NOT_ALLOWED),
    ("capillary_odd_row_changes", "BEFORE UPDATE OF state", "capillary_odd_row", _CHANGES, _NOT_ALLOWED),
    (
        "capillary_odd_row_stays",
        "BEFORE DELETE",
        "capillary_odd_row",
        f"OLD.state NOT IN ({_MAY_BE_CLAIMED})",
        _ODD_STAYS,
    ),
)


def upgrade() -> None:
    """Create the tables in Alembic's transaction."""
    from alembic import op

    create(op.get_bind())


def create(connection: sa.Connection) -> None:
    """Create the tables, and give the ledger its identity. Does not need Alembic."""
    on_sqlite = connection.dialect.name == "sqlite"
    tables = sa.MetaData()
    for add in (_registers, _jobs, _rows, _later_work, _probes):
        add(tables)
    tables.create_all(connection, checkfirst=False)
    connection.execute(sa.text(_VIEW))
    for guard in _GUARDS:
        for statement in _sqlite_guard(*guard) if on_sqlite else _postgresql_guard(*guard):
            connection.execute(sa.text(statement.replace(":", "\\:")))
    if not on_sqlite:  # the arrays do not shrink enough to be worth the time
        connection.execute(
            sa.text("ALTER TABLE capillary_batch ALTER rows SET STORAGE EXTERNAL, ALTER ids SET STORAGE EXTERNAL")
        )
    made_at = connection.execute(_NOW[not on_sqlite]).scalar_one()
    ledger = tables.tables["capillary_ledger"]
    connection.execute(ledger.insert().values(id=1, ledger_id=str(uuid.uuid4()), made_at=made_at))


def downgrade() -> None:
    """Refuse: dropping the ledger forgets what was granted."""
    raise NotImplementedError("a ledger is not dropped by a downgrade: what was granted would be forgotten")


def _sqlite_guard(name: str, when: str, table: str, refused: str, message: str) -> tuple[str, ...]:
    return (f"CREATE TRIGGER {name} {when} ON {table} WHEN {refused} BEGIN SELECT RAISE(ABORT, '{message}'); END",)


def _postgresql_guard(name: str, when: str, table: str, refused: str, message: str) -> tuple[str, ...]:
    # a function and not WHEN, which may ask no other table
    row = "OLD" if when == "BEFORE DELETE" else "NEW"
    function = f"""
        CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {refused} THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = '{message}';
            END IF;
            RETURN {row};
        END $$
    """
    return function, f"CREATE TRIGGER {name} {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"


def _registers(tables: sa.MetaData) -> None:
    sa.Table(
        "capillary_ledger",
        tables,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("ledger_id", sa.Text, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
        sa.Column("sealed_for", sa.Text),  # where it was copied to: nothing more is done here
        sa.CheckConstraint("id = 1", name="capillary_ledger_is_one"),
    )
    sa.Table(
        "capillary_organisation",
        tables,
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False, unique=True),  # names are compared without regard to case
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("is_added", sa.Boolean, nullable=False),  # a person said that it is an organisation of its own
    )
    sa.Table(
        "capillary_badge",  # numbers (organisation, badge), so that a row needs no organisation
        tables,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("organisation_id", sa.BigInteger, sa.ForeignKey("capillary_organisation.id"), nullable=False),
        sa.Column("badge_meta_id", sa.Text, nullable=False),
        sa.UniqueConstraint("organisation_id", "badge_meta_id"),
    )
    sa.Table(
        "capillary_badge_name",  # for people; ids of badges are unique over all organisations
        tables,
        sa.Column("badge_meta_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    sa.Table(
        "capillary_request_budget",
        tables,
        sa.Column("organisation", sa.Text, primary_key=True),
        sa.Column("turn", sa.Double, nullable=False),
    )


def _jobs(tables: sa.MetaData) -> None:
    sa.Table(
        "capillary_job",
        tables,
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
        sa.Column("commits", sa.BigInteger, nullable=False),  # only ever grows: how far the job is
        sa.CheckConstraint("state IN ('open', 'finished', 'failed')", name="capillary_job_state"),
    )
    batch = sa.Table(
        "capillary_batch",
        tables,
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("proof", sa.Text),
        sa.Column("row_count", sa.Integer, nullable=False),
        sa.Column("gone", sa.Integer, nullable=False),  # rows that belong to a later batch, or were set aside
        sa.Column(
            "has_late_id", sa.Boolean, nullable=False
        ),  # an earlier request is proven to have granted a row of it
        sa.Column("sent_with", sa.BigInteger),  # another batch, where its late reply granted the one row of this batch
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("sent_at", sa.Double, nullable=False),
        # when the PostgreSQL server began to run whose clock says the times; empty with SQLite
        sa.Column("server_started", sa.Double),
        sa.Column("boot_id", sa.Text),  # of the machine that sent
        sa.Column("sent_boot_time", sa.Double),  # seconds since that boot
        sa.Column("sent_time_of_day", sa.Double),  # by that machine, beside a PostgreSQL server's clock
        sa.Column("settled_at", sa.Double),
        sa.Column("settled_boot_time", sa.Double),  # of the same boot, else empty
        sa.Column("settled_time_of_day", sa.Double),  # by the machine that recorded the end
        sa.Column("status", sa.Integer),
        sa.Column("verdict", sa.Text),
        sa.Column("rows", sa.LargeBinary, nullable=False),
        sa.Column("ids", sa.LargeBinary),
        sa.CheckConstraint(f"state IN ({_BATCH_STATES})", name="capillary_batch_state"),
        sa.CheckConstraint(f"proof IN ({_PROOFS})", name="capillary_batch_proof"),
        sa.CheckConstraint("gone BETWEEN 0 AND row_count", name="capillary_batch_gone"),
    )
    sa.Index("capillary_batch_of_job", batch.c.job_id)
    # the newest batches that a reply proves: their rows are read before a read is believed that does not show a badge
    replied = sa.text("state = 'accepted' AND proof = 'reply'")
    sa.Index("capillary_batch_replied", batch.c.settled_at, sqlite_where=replied, postgresql_where=replied)


def _rows(tables: sa.MetaData) -> None:
    customer, badge, earned, occurrence = _key(primary=False)
    sa.Table(
        "capillary_earned_badge",
        tables,
        *(customer, earned, _batch(), badge, occurrence),  # in this order PostgreSQL needs 8 bytes less a row
        sa.PrimaryKeyConstraint("customer_id", "badge_id", "earned_at", "occurrence"),
        sqlite_with_rowid=False,
    )
    odd_row = sa.Table(
        "capillary_odd_row",
        tables,
        *_key(),
        _batch(sa.ForeignKey("capillary_batch.id")),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        sa.Column("row_number", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("earned_badge_id", sa.Text),
        sa.Column("proof", sa.Text),
        sa.CheckConstraint(f"state IN ({_ODD_STATES})", name="capillary_odd_row_state"),
        sa.CheckConstraint(f"proof IN ({_PROOFS})", name="capillary_odd_row_proof"),
        sqlite_with_rowid=False,
    )
    sa.Index("capillary_odd_row_of_job", odd_row.c.job_id, odd_row.c.row_number)
    sa.Index("capillary_odd_row_of_batch", odd_row.c.batch_id)
    sa.Table("capillary_doubt", tables, *_key(), sa.Column("doubt", sa.Text, nullable=False), sqlite_with_rowid=False)
    # Ids that accept no row: of replies without proof, and of replies that came too late. Customer and badge are what
    # the API said; where only one row of the batch can be meant, they and the next two are that row's identity.
    given_id = sa.Table(
        "capillary_given_id",
        tables,
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
    sa.Index("capillary_given_id_of_batch", given_id.c.batch_id)
    proven = sa.text("is_proven")
    sa.Index(
        "capillary_given_id_proven",
        given_id.c.organisation_id,
        given_id.c.customer_id,
        sqlite_where=proven,
        postgresql_where=proven,
    )
    sa.Table(
        "capillary_row_issue",
        tables,
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), primary_key=True, autoincrement=False),
        sa.Column("row_number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("code", sa.BigInteger),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("badge_meta_id", sa.Text),
        sa.Column("details", sa.Text, nullable=False),  # as JSON: request id, attempt, source, line, and what else
        sa.Column("original", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _later_work(tables: sa.MetaData) -> None:
    """What is done to rows outside an import: by what proof or whose word settled, and asked to be revoked.

    A revocation is written before the API is asked and again when it has answered, one row for each earned badge, for
    ever: a row without an answer may be revoked or not, and asking again says which.
    """
    settlement = sa.Table(
        "capillary_settlement",
        tables,
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        sa.Column("row_number", sa.BigInteger, nullable=False),
        *_key(primary=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("proof", sa.Text, nullable=False),
        sa.Column("settled_by", sa.Text, nullable=False),
        sa.Column("settled_at", sa.Double, nullable=False),
        sa.CheckConstraint("state IN ('accepted', 'planned')", name="capillary_settlement_state"),
        sa.CheckConstraint(f"proof IN ({_PROOFS})", name="capillary_settlement_proof"),
    )
    sa.Index("capillary_settlement_of_job", settlement.c.job_id)
    revocation = sa.Table(
        "capillary_revocation",
        tables,
        sa.Column("organisation_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("earned_badge_id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.BigInteger, sa.ForeignKey("capillary_job.id"), nullable=False),
        *_key(primary=False),
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
    sa.Index("capillary_revocation_of_job", revocation.c.job_id)


def _probes(tables: sa.MetaData) -> None:
    """First contacts: what they granted, noted before it is asked for, and what they found out."""
    sa.Table(
        "capillary_probe",
        tables,
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("organisation", sa.Text, nullable=False),  # as names are compared
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("badge_meta_id", sa.Text, nullable=False),
        sa.Column("before_it", sa.Text, nullable=False),  # what a read showed before the first grant
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("answers", sa.Text),
    )
    probe_grant = sa.Table(
        "capillary_probe_grant",
        tables,
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("probe_id", sa.BigInteger, sa.ForeignKey("capillary_probe.id"), nullable=False),
        sa.Column("earned_at", sa.BigInteger, nullable=False),
        sa.Column("import_method", sa.Text, nullable=False),
        sa.Column("timestamp_format", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("earned_badge_id", sa.Text),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.Column("answered_at", sa.Double),
        sa.CheckConstraint("state IN ('intent', 'granted', 'revoked', 'absent')", name="capillary_probe_grant_state"),
    )
    sa.Index("capillary_probe_grant_of_probe", probe_grant.c.probe_id)


def _key(*, primary: bool = True) -> list[sa.Column[int]]:
    """A row's identity; the organisation is that of the badge."""
    kinds = {"customer_id": sa.BigInteger, "badge_id": sa.Integer, "earned_at": sa.BigInteger, "occurrence": sa.Integer}
    return [
        sa.Column(name, kind, primary_key=primary, nullable=False, autoincrement=False) for name, kind in kinds.items()
    ]


def _batch(*foreign: sa.ForeignKey) -> sa.Column[int]:
    # no foreign key from a good row: it would be asked for every row, and a batch cannot be deleted anyway
    return sa.Column("batch_id", sa.BigInteger, *foreign, nullable=False)
