"""From Airflow's connections to clients; how errors and lineage look to Airflow."""

#: The connection where no other is named. It stands here because a DAG file names it, and must not load the client.
DEFAULT_CONN_ID = "capillary_default"
