"""Options of ``airflow capillary ledger seed``: those of ``BadgeSeedOperator``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_capillary.datasets.options import DATASET_FORMATS


def seed_arguments(arg: Callable[..., Any]) -> tuple[Any, ...]:
    """Give the arguments.

    :param arg: makes one, as ``argparse`` does.
    """
    return (
        arg(
            "--dataset",
            help="URI or path of a file or folder (Parquet, CSV and others); several are read one after the other",
            nargs="+",
            required=True,
            metavar="URI",
        ),
        arg(
            "--conn-id",
            "--capillary-conn-id",
            dest="capillary_conn_id",
            help="Connection of the organisation whose badges they are; nothing is asked there "
            "(default: capillary_default)",
            default="capillary_default",
            metavar="CONN_ID",
        ),
        arg(
            "--field-mapping",
            help="""JSON: API field to dataset column, e.g. '{"earnEventDate": "earnedOn"}'; earnedBadgeId: the ids""",
            metavar="JSON",
        ),
        arg("--timezone", help="IANA name for timestamps without offset; without it they are invalid rows"),
        arg(
            "--dataset-format",
            help="Default: by the name, else by the first bytes",
            choices=tuple(DATASET_FORMATS),
        ),
        arg("--csv-delimiter", help="One character, or tab (default: taken from the header)"),
        arg("--timestamp-unit", help="Of numbers in the dataset (default: s)", choices=("s", "ms"), default="s"),
        arg(
            "--max-invalid",
            help="Rows, or a share such as 1%%, that may be invalid; above, nothing is noted (default: 0)",
            default="0",
        ),
        arg("--dry-run", help="Check and count, note nothing", action="store_true"),
    )
