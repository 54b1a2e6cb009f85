"""A button in Airflow's UI that opens the report, where a browser can."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from airflow_provider_capillary.datasets.object_storage import storage
from airflow_provider_capillary.hooks.outside import only_telling

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class BadgeReportLink(BaseOperatorLink):
    """The address of ``report.html``, as the operator found it out while it worked.

    Airflow asks in the worker when the task is over, and keeps the answer. There is none, and so no button, where
    the report failed or lies where no browser gets at it: a path on the worker's disk is in the log and the XCom.
    """

    name = "Badge report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """The address, or empty text. Nothing is looked up."""
        return getattr(operator, "report_address", None) or ""


@only_telling
def address_of(uri: str) -> str | None:
    """Where a person's browser shows a file of an object storage, or ``None``.

    Google's address shows the file itself, Amazon's the page of the object, with a button to open it. Both ask for
    the person's own login. An S3 that is not Amazon's has no page that could be known here.
    """
    scheme, _, rest = uri.partition("://")
    store, _, key = rest.partition("/")
    bucket = store.rpartition("@")[2]
    if scheme in ("gs", "gcs"):
        return f"https://storage.cloud.google.com/{quote(bucket)}/{quote(key)}"
    if scheme == "s3" and _is_amazons(uri):
        return f"https://s3.console.aws.amazon.com/s3/object/{quote(bucket)}?prefix={quote(key)}"
    return None


def _is_amazons(uri: str) -> bool:
    if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        return False
    with storage(uri) as (filesystem, _):
        own = getattr(filesystem, "client_kwargs", None) or {}
        return not (getattr(filesystem, "endpoint_url", None) or own.get("endpoint_url"))
