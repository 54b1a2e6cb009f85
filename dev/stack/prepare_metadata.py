"""``python -m dev.stack.prepare_metadata FILE``: make Airflow's database ready for a stack.

Writes ``airflow.cfg``, brings the tables up to date, makes the samples' pool, and sets the connections of a JSON
file: in the database, not in the environment, so that Airflow's UI shows them. One process for all of it, for loading
Airflow takes longer than that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: How many imports run at once, over all DAGs; ``sharded_badge_sync`` asks for it.
POOL = "capillary_api"


def prepare(connections: dict[str, dict[str, Any]]) -> None:
    """Do it, in the database that Airflow is configured for."""
    from airflow.configuration import write_default_airflow_configuration_if_needed

    # It holds secrets made by chance, which all processes must share: it has to be there before the first of them.
    write_default_airflow_configuration_if_needed()

    from airflow.models.connection import Connection  # the table, which airflow.sdk's Connection is not
    from airflow.models.pool import Pool
    from airflow.utils import db
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    db.initdb()
    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id.in_(connections)))
        for conn_id, fields in connections.items():
            session.add(Connection(conn_id=conn_id, **fields))
        Pool.create_or_update_pool(POOL, 4, "imports into Capillary", include_deferred=False, session=session)


if __name__ == "__main__":
    prepare(json.loads(Path(sys.argv[1]).read_text("utf-8")))
