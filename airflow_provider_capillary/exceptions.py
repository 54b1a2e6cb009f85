"""Every error of this package, in one tree. The two branches say whether a later try may succeed.

::

    CapillaryError                   alone (``UnaccountedRowsError`` in ``core/summary.py``): a defect of this package
    ├── FixableError                 a person must change something; trying again is useless
    │   ├── ConfigurationError       connection, arguments or settings are wrong
    │   │   ├── UnknownJobError      the ledger holds no such job
    │   │   └── UnknownOrganisationError  the ledger holds grants of another organisation's name only
    │   ├── DatasetError             the dataset cannot be read as it is
    │   ├── AuthenticationError      the API does not accept the credentials (401)
    │   ├── RequestRefusedError      the API refused the request as a whole (403, 404, 405, 415, ...)
    │   ├── JobMismatchError         a retry brought another dataset or other settings
    │   ├── WrongLedgerError         the ledger is new, another, or older than Airflow last saw; or could not be durable
    │   ├── LedgerUnusableError      the ledger's database refuses a statement: rights, tables, a damaged file
    │   ├── ImportStoppedError       the job stopped itself; the rest was not sent
    │   └── BudgetExceededError      everything is recorded, and too much of it was refused or is unknown
    └── RetryableError               nothing to fix here; try again later
        ├── ApiUnavailableError      no connection, 429, or a read failed
        ├── JobIsRunningError        another living copy of the job holds the lease
        ├── ControlMissingError      rows stay unknown, and a later try may settle them
        ├── LeaseLostError           another copy took the job over; this one may write no more
        ├── LedgerUnavailableError   the ledger's database cannot be reached or written
        ├── WitnessUnavailableError  what Airflow remembers of the ledger cannot be read or written
        └── ImportInterruptedError   asked to stop (SIGTERM) in mid-job

``AuthenticationError``, ``RequestRefusedError`` and ``ApiUnavailableError`` are an ``ApiError``, too, which has the
reply's status and code. Each class says whether the server may have acted. The import itself never raises for a
request whose outcome is unknown: it records the rows as ``unknown``.
"""

from __future__ import annotations

from enum import Enum


class Trouble(Enum):
    """Why a request got no complete reply. The value is the text that people read."""

    NAME = "the host name cannot be resolved"
    INVALID_HOST = "the host is not a valid name"
    INVALID_URL = "the URL is not valid"
    INVALID_HEADER = "a header value is not valid"
    CERTIFICATE = "the server's TLS certificate is not trusted"
    TLS = "TLS failed"
    PROXY = "the proxy failed"
    REFUSED = "the connection was refused"
    NOT_CONNECTED = "no connection could be made"
    CONNECT_TIMEOUT = "no connection within the connect timeout"
    READ_TIMEOUT = "no complete reply within the timeout"
    TIMEOUT = "timed out"
    CLOSED = "the server closed the connection without a reply"
    RESET = "the server reset the connection"
    CUT_SHORT = "the reply broke off"
    NO_HTTP = "the reply is no valid HTTP"
    BROKEN = "the connection broke"
    NETWORK = "network error"


class CapillaryError(Exception):
    """Root of all errors of this package."""


class FixableError(CapillaryError):
    """A person must change something first; a retry would fail in the same way."""


class RetryableError(CapillaryError):
    """A later try may succeed. ``retry_after``: seconds the server asked to wait, or ``None``."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(FixableError):
    """The connection, an argument or a setting is wrong. Nothing was sent."""


class UnknownJobError(ConfigurationError, LookupError):
    """The ledger holds no job of that id: the id or ``ledger_conn_id`` is wrong. Nothing was sent."""


class UnknownOrganisationError(ConfigurationError):
    """The ledger does not know the organisation's name, and holds grants of another name. Nothing was sent."""


class DatasetError(FixableError):
    """The dataset is missing, unreadable or damaged. Found before anything is sent."""


class JobMismatchError(FixableError):
    """A retry brought another dataset or other settings than its job began with. This try sent nothing."""


class WrongLedgerError(FixableError):
    """The ledger is not the one that Airflow last saw, is sealed, or lies where it cannot be kept. Nothing was sent."""


class LedgerUnusableError(FixableError):
    """The ledger's database refuses a statement, and would refuse it again. Nothing was sent that is not recorded."""


class ImportStoppedError(FixableError):
    """The job stopped itself because going on could only do harm; rows not yet sent are reported as ``not_sent``."""


class BudgetExceededError(FixableError):
    """All rows are recorded, but more were refused or stayed unknown than the budget allows."""


class ApiError(CapillaryError):
    """A call to the API failed. Evidence: ``status``, ``code``, ``request_id`` (each may be ``None``)."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class AuthenticationError(ApiError, FixableError):
    """401 after one token refresh, or the API gave no token. The server did not act."""


class RequestRefusedError(ApiError, FixableError):
    """The server refused the whole request before acting (403, 404, 405, 415, other 4xx with an error envelope)."""


class ApiUnavailableError(ApiError, RetryableError):
    """No connection, 429 or a server error. The server did not act: it is raised for reads, or if nothing was written.

    ``trouble``: why there was no reply, ``None`` if there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        ApiError.__init__(self, message, status=status, code=code, request_id=request_id)
        self.retry_after = retry_after
        self.trouble = trouble


class JobIsRunningError(RetryableError):
    """Another living copy of this job holds its lease. This try sent nothing.

    ``lease``: the number and the end of the lease, as they were seen. A copy that lives renews it, so that they change.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, lease: tuple[int, float] | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.lease = lease


class ControlMissingError(RetryableError):
    """Rows stay unknown because no badge could be read that is known to be there. All rows are recorded."""


class LeaseLostError(RetryableError):
    """Another copy took this job over. What this copy sent is recorded as intents, which the other one verifies."""


class LedgerUnavailableError(RetryableError):
    """The ledger cannot be reached or written. Nothing was sent that is not recorded."""


class WitnessUnavailableError(RetryableError):
    """Airflow's witness of the ledger cannot be read or written. Before a job has begun, nothing was sent."""


class ImportInterruptedError(RetryableError):
    """The job was asked to stop. Batches in flight were recorded; the next try sends the rest."""
