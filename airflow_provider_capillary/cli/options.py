"""Defines the arguments of the commands of ``airflow capillary``, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.cli.cli_config import Arg

from airflow_provider_capillary.datasets.formats import DATASET_FORMATS
from airflow_provider_capillary.hooks import DEFAULT_CONN_ID


def _arg(*flags: str, **options: Any) -> Arg:
    return Arg(flags, **options)  # type: ignore[no-untyped-call]  # of Airflow


LEDGER = _arg(
    "--ledger-conn-id",
    help="Connection of the ledger (default: as configured for the operators, else the file under AIRFLOW_HOME)",
    metavar="CONN_ID",
)
JOB_ID = _arg("job_id", help="The job's id, as the import returned it and `airflow capillary jobs` lists it")
DAG_ID = _arg("--dag-id", help="Only jobs of this DAG")
LIMIT = _arg("--limit", help="At most so many jobs, the newest first (default: 20)", type=int, default=20)
AS = _arg(
    "--as",
    help="accepted: these rows were granted. resend: they were not, and the next import sends them; if that is wrong, "
    "they are granted twice",
    choices=("accepted", "resend"),
    required=True,
    dest="resolution",
)
ROW = _arg(
    "--row",
    help="Only rows of these numbers, as `airflow capillary unknown` lists them (default: all unknown rows of the job)",
    type=int,
    nargs="+",
    action="extend",
    metavar="NUMBER",
)
FILE = _arg("--output", help="Where to write the CSV file; it is replaced", type=Path, required=True, metavar="FILE")

DO_IT = _arg(
    "--yes", "-y", "--no-dry-run", help="Take the badges back; without it they are only counted", action="store_true"
)
IMPORT_AGAIN = _arg("--import-again", help="Let a later import grant the revoked rows again", action="store_true")
CONN = _arg("--conn-id", help="Connection of the import (default: capillary_default)", default=DEFAULT_CONN_ID)
TESTED_CONN = _arg("conn_id", help="The connection", metavar="CONN_ID")
CUSTOMER = _arg("customer_id", help="Capillary's own customer id", type=int)
FOLDER = _arg("--output", help="The folder for the files", type=Path, required=True, metavar="DIR")
CAPILLARY = _arg(
    "--capillary-conn-id",
    help="Connection of type capillary of the organisation (default: capillary_default)",
    default=DEFAULT_CONN_ID,
    metavar="CONN_ID",
)
ORGANISATION = _arg("--organisation", help="The organisation's name, instead of a connection's", metavar="NAME")
YES = _arg("-y", "--yes", help="Do not ask for confirmation", action="store_true")
_PLACE = "a connection's id, a SQLAlchemy URL, or the path of an SQLite file"
FROM = _arg("source", help=f"The ledger: {_PLACE}", metavar="FROM")
TO = _arg("target", help=f"Where to: {_PLACE}", metavar="TO")
BACKUP = _arg("file", help="The SQLite file to write; it must not be there yet", type=Path, metavar="FILE")
REASONS = _arg(
    "names", help="Names in brackets of a log, or names of a report (default: list all)", nargs="*", metavar="NAME"
)
ACTION = _arg(
    "action", help="list (default), add or rename", choices=("list", "add", "rename"), nargs="?", default="list"
)
NAMES = _arg("names", help="add: the name. rename: the old name and the new one", nargs="*", metavar="NAME")

#: Of ``probe``.
PROBE_ARGUMENTS = (
    _arg("--conn-id", "--capillary-conn-id", help="Connection of the organisation", required=True, metavar="CONN_ID"),
    _arg(
        "--customer",
        help="Capillary's own id of the customer who gets the badges: a test customer, without imports that run",
        required=True,
        metavar="ID",
    ),
    _arg("--badge", help="badgeMetaId of the badge that is granted and revoked", required=True, metavar="ID"),
    _arg("-y", "--yes", help="Do not ask for confirmation", action="store_true"),
    _arg(
        "--wait",
        help="Seconds for which a read may fail to show a grant (default: 180)",
        type=float,
        default=180.0,
        metavar="SECONDS",
    ),
)
#: Of ``ledger seed``: those of ``BadgeSeedOperator``.
SEED_ARGUMENTS = (
    _arg(
        "--dataset",
        help="URI or path of a file or folder (Parquet, CSV and others); several are read one after the other",
        nargs="+",
        required=True,
        metavar="URI",
    ),
    _arg(
        "--conn-id",
        "--capillary-conn-id",
        dest="capillary_conn_id",
        help="Connection that names the organisation; the API is not called (default: capillary_default)",
        default=DEFAULT_CONN_ID,
        metavar="CONN_ID",
    ),
    _arg(
        "--field-mapping",
        help="""JSON: API field to dataset column, e.g. '{"earnEventDate": "earnedOn"}'; earnedBadgeId: the ids""",
        metavar="JSON",
    ),
    _arg("--timezone", help="IANA name for timestamps without offset; without it they are invalid rows"),
    _arg(
        "--dataset-format",
        help="Default: by the name, else by the first bytes",
        choices=tuple(DATASET_FORMATS),
    ),
    _arg("--csv-delimiter", help="One character, or tab (default: taken from the header)"),
    _arg("--timestamp-unit", help="Of numbers in the dataset (default: s)", choices=("s", "ms"), default="s"),
    _arg(
        "--max-invalid",
        help="Rows, or a share such as 1%%, that may be invalid; with more, nothing is recorded (default: 0)",
        default="0",
    ),
    _arg("--dry-run", help="Check and count, record nothing", action="store_true"),
)

# Of ``simulator``: the same as in ``simulator/command_line.py``, which is slow to load. A test compares the two.
#: Options that take a value.
SIMULATOR_OPTIONS = {
    "--host": "address to listen on (default: loopback only)",
    "--port": "0: a free one, which is printed",
    "--port-file": "write the port there, once calls are answered",
    "--faults": "fault plan, JSON",
    "--badges": 'JSON list of ids or {"id", "name"}, or how many to make up',
    "--customers": 'JSON list like [{"id": 7, "mobile": "91..."}]; others unknown',
    "--latency": "how long each call takes, in milliseconds",
    "--zone": "time zone of the server, e.g. Asia/Kolkata",
    "--methods": "what the import answers to: PUT, POST or PUT,POST",
    "--timestamps": "how instants are read: epoch_seconds, epoch_milliseconds, iso_inline or iso_fields",
    "--unknown-badge": "what code 1054 refuses: row or call",
    "--reads": 'how reads answer, JSON, e.g. {"show_imports": false}',
    "--token-ttl": "lifetime of tokens in seconds",
    "--username": "default: $CAPILLARY_SIMULATOR_USERNAME, else the documented one",
    "--password": "default: $CAPILLARY_SIMULATOR_PASSWORD, else the documented one",
    "--oauth-key": "default: $CAPILLARY_SIMULATOR_OAUTH_KEY, else the documented one",
    "--oauth-secret": "default: $CAPILLARY_SIMULATOR_OAUTH_SECRET, else the documented one",
}
SIMULATOR_SWITCHES = {
    "--refuse-repeated-request-ids": "400 with code 809 for them",
    "--no-earns-detail": "read-backs have counts only",
    "--sink": "count grants, do not keep them",
}
SIMULATOR_ARGUMENTS = (
    *(_arg(name, help=text) for name, text in SIMULATOR_OPTIONS.items()),
    *(_arg(name, help=text, action="store_true") for name, text in SIMULATOR_SWITCHES.items()),
)
