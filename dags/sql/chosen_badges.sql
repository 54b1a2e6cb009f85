{#- The earned badges of earned_badges.sql, only those of :badges: ids with a comma before and behind each, or '' for
    all. Drivers do not agree on how a parameter is written. This file writes what the driver of the connection
    `warehouse` binds: SQLite and Oracle :name, DuckDB $name, most others %(name)s. The values are never put into the
    text. -#}
{%- set written = {"sqlite": ":NAME", "oracle": ":NAME", "duckdb": "$NAME"}.get(conn.warehouse.conn_type, "%(NAME)s") -%}
{%- set query -%}
select earned.*
from (
{% include "sql/earned_badges.sql" %}
) as earned
where :badges = '' or replace(:badges, ',' || earned.badge_meta_id || ',', '') <> :badges
-- rows of one customer in the order in which they are to be granted
order by customer_id, earn_event_date, badge_meta_id, note
{%- endset -%}
{{ query
    | replace(":date_from", written | replace("NAME", "date_from"))
    | replace(":date_to", written | replace("NAME", "date_to"))
    | replace(":badges", written | replace("NAME", "badges")) }}
