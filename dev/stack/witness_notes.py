"""Airflow's witness of a ledger, as Airflow's own PostgreSQL has it, and how often it was written."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from cryptography.fernet import Fernet

from airflow_provider_capillary.core.earned_badge import organisation_digest
from airflow_provider_capillary.core.witness import Witness

_COUNTED = """
    CREATE TABLE IF NOT EXISTS variable_write (key text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE OR REPLACE FUNCTION count_variable_write() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO variable_write (key) VALUES (new.key); RETURN NULL; END $$;
    CREATE OR REPLACE TRIGGER count_writes AFTER INSERT OR UPDATE ON variable
        FOR EACH ROW EXECUTE FUNCTION count_variable_write();
"""


class WitnessNotes:
    """The witness of one organisation.

    :param metadata: a connection to Airflow's database, in which each statement commits
    :param fernet_key: of this Airflow
    """

    def __init__(self, metadata: psycopg.Connection[Any], fernet_key: str, organisation: str) -> None:
        self._metadata = metadata
        self._fernet = Fernet(fernet_key)
        self.key = f"capillary_ledger_witness_{organisation_digest(organisation)}"

    def read(self) -> Witness:
        """What it says now."""
        row = self._metadata.execute("SELECT val FROM variable WHERE key = %s", [self.key]).fetchone()
        assert row is not None, f"there is no Variable {self.key}"
        return msgspec.json.decode(self._fernet.decrypt(row[0].encode()), type=Witness)

    def writes(self) -> int:
        """How often it was written since they are counted."""
        row = self._metadata.execute("SELECT count(*) FROM variable_write WHERE key = %s", [self.key]).fetchone()
        return int(row[0]) if row else 0


def count_writes(metadata: psycopg.Connection[Any]) -> None:
    """Let the database count from now on how often each Variable is written."""
    metadata.execute(_COUNTED.encode())
