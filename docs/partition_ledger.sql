-- Divides the ledger's largest table by the month in which a badge was earned. PostgreSQL 14 or newer; while no import
-- runs, and after a backup: psql --single-transaction --set ON_ERROR_STOP=1 --file partition_ledger.sql
-- It writes every row once more: measure it on a copy. Needed again every two years: see docs/scaling.md.

LOCK TABLE capillary_earned_badge IN ACCESS EXCLUSIVE MODE;
ALTER TABLE capillary_earned_badge RENAME TO capillary_earned_badge_whole;
CREATE TABLE capillary_earned_badge (LIKE capillary_earned_badge_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (earned_at);

-- A month for each that has rows, and for the next 24; whatever lies outside is kept in capillary_earned_badge_other.
DO $$
DECLARE
    month timestamp;
    last timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') + interval '24 months';
BEGIN
    SELECT coalesce(date_trunc('month', to_timestamp(min(earned_at)) AT TIME ZONE 'UTC'), last)
        INTO month FROM capillary_earned_badge_whole;
    WHILE month <= last LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF capillary_earned_badge FOR VALUES FROM (%s) TO (%s)',
            'capillary_earned_badge_' || to_char(month, 'YYYY_MM'),
            extract(epoch FROM month)::bigint,
            extract(epoch FROM month + interval '1 month')::bigint
        );
        month := month + interval '1 month';
    END LOOP;
END $$;
CREATE TABLE capillary_earned_badge_other PARTITION OF capillary_earned_badge DEFAULT;

INSERT INTO capillary_earned_badge SELECT * FROM capillary_earned_badge_whole;
ALTER TABLE capillary_earned_badge ADD PRIMARY KEY (customer_id, badge_id, earned_at, occurrence);

-- The guard of a row's batch, as it was.
DO $$
DECLARE
    guard text;
BEGIN
    FOR guard IN
        SELECT pg_get_triggerdef(oid) FROM pg_trigger
        WHERE tgrelid = 'capillary_earned_badge_whole'::regclass AND NOT tgisinternal
    LOOP
        EXECUTE replace(guard, 'capillary_earned_badge_whole', 'capillary_earned_badge');
    END LOOP;
END $$;
-- The view knows its table by more than the name.
DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW capillary_row AS '
        || replace(pg_get_viewdef('capillary_row'::regclass), 'capillary_earned_badge_whole', 'capillary_earned_badge');
END $$;
DROP TABLE capillary_earned_badge_whole;
ANALYZE capillary_earned_badge;
