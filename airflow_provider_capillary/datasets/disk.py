"""A full disk, as an error that says what to do."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_capillary.exceptions import RetryableError

#: EFBIG is the limit on the size of one file (ulimit -f).
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: BaseException) -> bool:
    """Whether the operating system refused to write more."""
    return isinstance(error, OSError) and error.errno in _FULL


@contextmanager
def room_on_disk(what: str) -> Iterator[None]:
    """Turn a full disk into a ``RetryableError``: another worker, or this one later, may have room."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise RetryableError(
            f"{what}: no room on this worker's disk ({error.strerror}). Free some of {tempfile.gettempdir()}, or set "
            "TMPDIR to a folder with more. Nothing half written was left."
        ) from error
