"""Signs and checks a confirmation: for one user, one job, one action and the number of rows that was shown.

A form on another site has no such signature, so it can start nothing. If the number has changed since it was shown, the
confirmation is refused.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from fastapi import Form, HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

SECONDS_VALID = 3_600
#: Values of ``Sec-Fetch-Site``, by which browsers name the origin of a request.
_SAME_SITE = (None, "same-origin", "none")

SignedForm = Annotated[str, Form(alias="confirmation")]


def sign(user: BaseUser, action: str, job_id: str, rows: int) -> str:
    """Give the value of the form's hidden field."""
    return _serializer().dumps([user.get_id(), action, job_id, rows])


def check(request: Request, signed: str, user: BaseUser, action: str, job_id: str, rows: int) -> None:
    """Refuse a confirmation unless this page showed this number to this user within the last hour.

    :raises HTTPException: 403: another site, user, job or action, or too old; 409: the number has changed.
    """
    if request.headers.get("sec-fetch-site") not in _SAME_SITE:
        raise HTTPException(403, "This form came from another site. Nothing was changed.")
    try:
        confirmed = _serializer().loads(signed, max_age=SECONDS_VALID)
    except BadSignature:
        raise HTTPException(
            403, "This confirmation is not valid, or older than an hour. Nothing was changed. Open the page again."
        ) from None
    if confirmed[:3] != [user.get_id(), action, job_id]:
        raise HTTPException(403, "This confirmation is for another action, job or user. Nothing was changed.")
    if confirmed[3] != rows:
        raise HTTPException(
            409,
            f"When you confirmed, it was about {confirmed[3]:,} rows; now it is {rows:,}. Nothing was changed. "
            "Look again, and confirm once more.",
        )


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get("api", "secret_key"), salt="capillary-badge-imports")
