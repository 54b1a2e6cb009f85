-- Runs once, when the volume of PostgreSQL is empty. The database "airflow" (metadata) is made by the image itself.
CREATE DATABASE warehouse;
CREATE DATABASE capillary_ledger;
