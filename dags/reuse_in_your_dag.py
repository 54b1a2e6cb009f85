"""### One import, four ways to use it in a DAG of your own

| you have | use | here |
|---|---|---|
| a file or a folder that another system writes | `BadgeImportOperator` | `import_partner_file` |
| rows that a few lines of Python find | `@task.capillary_badge_import` | `import_anniversaries` |
| a question to the API, or a change other than an import | `CapillaryBadgeHook` | `badge_exists` |
| people who must learn of a failure | any notifier, in a callback | `mail_failure` |

`import_partner_file` reads a partner's CSV with its own column names and local times. `import_anniversaries` grants a
badge to members on the anniversary of the day on which they joined. The lists are short here. With more than 10,000
rows write a file (`SqlToBadgeDatasetOperator` does) and give its URI.

**Before the first run**: the connection `capillary_default`. For the mail: `apache-airflow-providers-smtp`, a
connection `smtp_default`, and the Variable `badge_mail_to`. Without them no mail is sent, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.operators.badge_import import BadgeImportOperator

ANNIVERSARY_BADGE = "6774a1c0d3f5b2e8a9014c06"
JOINED = {90_095_028: "2021-03-18", 90_308_841: "2023-03-18", 90_562_249: "2022-11-02", 90_744_386: "2024-03-18"}
PARTNER_FILE = (Path(__file__).parent / "data" / "partner_badges.csv").as_uri()

# The messages are untrusted text. They are values of the template, never part of it, and are escaped.
MAIL = """
{% if summary %}
<p>{{ summary.rows_read }} rows read: {{ summary.accepted }} accepted, {{ summary.rejected }} rejected,
{{ summary.invalid }} invalid, {{ summary.unknown }} unknown, {{ summary.not_sent }} not sent.</p>
<ul>{% for reason in summary.reasons %}<li>{{ reason.rows }} x {{ reason.message | e }}</li>{% endfor %}</ul>
{% else %}<p>No row was sent. {{ exception | default("The log of the task says why.") | e }}</p>{% endif %}
"""


def mail_failure(context: Mapping[str, Any]) -> None:
    """Mail the counts of a failed import. Airflow calls it with the task's context after the last try."""
    # Imported here, because this DAG must load without that provider. Any other notifier works as well.
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    ti = context["ti"]
    # A failed import leaves its summary in XCom too, unless it failed before it began.
    summary = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    notify = SmtpNotifier(
        to="{{ var.value.get('badge_mail_to', 'loyalty@example.com') }}",
        from_email="airflow@example.com",
        subject="{{ ti.dag_id }}: {{ ti.task_id }} failed",
        html_content=MAIL,
    )
    notify({**context, "summary": summary})


with DAG(
    dag_id="reuse_in_your_dag",
    description="Four ways to use the import in a DAG of your own",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    tags=["capillary", "badges"],
    doc_md=__doc__,
    params={
        "day": Param("2025-03-18", type="string", format="date", title="Day", description="Whose anniversary it is."),
        "partner_file": Param(PARTNER_FILE, type="string", title="Partner file", description="URI of a CSV file."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1), "on_failure_callback": mail_failure},
):

    @task
    def badge_exists() -> str | None:
        """Read the badge from Capillary, and give its name."""
        badge = CapillaryBadgeHook("capillary_default").get_badge(ANNIVERSARY_BADGE)
        if badge is None:
            raise AirflowFailException(f"Capillary has no badge {ANNIVERSARY_BADGE}; create it, or correct its id here")
        return badge.name

    @task.capillary_badge_import(max_rejected=0)
    def import_anniversaries(day: str) -> list[dict[str, Any]]:
        """Members who joined on this day of an earlier year. The day is the run's, so a retry finds the same ones."""
        today = date.fromisoformat(day)
        return [
            {
                "badge_meta_id": ANNIVERSARY_BADGE,
                "customer_id": member,
                "earn_event_date": f"{today}T00:00:00Z",
                "earn_expires_on": f"{today + timedelta(days=365)}T00:00:00Z",
            }
            for member, joined in sorted(JOINED.items())
            if joined[5:] == day[5:] and joined < day
        ]

    import_partner_file = BadgeImportOperator(
        task_id="import_partner_file",
        dataset="{{ params.partner_file }}",
        field_mapping={
            "badgeMetaId": "badge",
            "customerId": "member",
            "earnEventDate": "earned",
            "earnExpiresOn": "valid_until",
        },
        timezone="Asia/Kolkata",
        max_rejected="2%",
    )

    badge_exists() >> import_anniversaries("{{ params.day }}") >> import_partner_file
