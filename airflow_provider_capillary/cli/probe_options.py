"""Options of ``airflow capillary probe``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def probe_arguments(arg: Callable[..., Any]) -> tuple[Any, ...]:
    """Give the arguments.

    :param arg: makes one, as ``argparse`` does.
    """
    return (
        arg(
            "--conn-id", "--capillary-conn-id", help="Connection of the organisation", required=True, metavar="CONN_ID"
        ),
        arg(
            "--customer",
            help="Capillary's own id of the customer who gets the badges: a test customer, without imports that run",
            required=True,
            metavar="ID",
        ),
        arg("--badge", help="badgeMetaId of the badge that is granted and revoked", required=True, metavar="ID"),
        arg("-y", "--yes", help="Do not ask for confirmation", action="store_true"),
        arg(
            "--wait",
            help="Seconds for which a read may fail to show a grant (default: 180)",
            type=float,
            default=180.0,
            metavar="SECONDS",
        ),
    )
