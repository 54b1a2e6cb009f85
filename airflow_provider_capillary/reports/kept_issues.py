"""Keeps the issues of a report on disk as they were read, so that its page and its CSV files have the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from airflow_provider_capillary.ledger.facts import RowIssue

_DECODER = msgspec.json.Decoder(tuple[str, RowIssue])


class KeptIssues:
    """Issues in a file, one line of JSON each: written once, then read as often as needed.

    A second query of the ledger could give other rows, because another process settles some, or a job goes on.

    :param folder: a folder on a disk with room. The file has no name there and is gone at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> KeptIssues:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, job_id: str, issue: RowIssue) -> None:
        """Keep one issue of a job."""
        self._file.write(msgspec.json.encode((job_id, issue)) + b"\n")

    def __iter__(self) -> Iterator[tuple[str, RowIssue]]:
        """All issues with the id of their job, in the order in which they were kept."""
        self._file.seek(0)
        return map(_DECODER.decode, self._file)
