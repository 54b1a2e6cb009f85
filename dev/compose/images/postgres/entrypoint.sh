set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }

install -d -o postgres -g postgres -m 700 "$data"
if [ ! -e "$data/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  chown postgres /tmp/password
  as_postgres "$bin/initdb" --pgdata "$data" --username "$POSTGRES_USER" --pwfile /tmp/password \
    --auth scram-sha-256 --auth-local trust --encoding UTF8 --locale C.UTF-8
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  as_postgres "$bin/pg_ctl" --pgdata "$data" --wait --options "-c listen_addresses=''" start
  as_postgres "$bin/createdb" --username "$POSTGRES_USER" "$POSTGRES_DB"
  for statements in /docker-entrypoint-initdb.d/*.sql; do
    as_postgres "$bin/psql" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 --file "$statements"
  done
  as_postgres "$bin/pg_ctl" --pgdata "$data" --wait --mode fast stop
fi
exec setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D "$data" -c "listen_addresses=*"
