"""What a dataset is to the rest of the package: windows of rows, streamed, each row with a place to point at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import pyarrow as pa


class DatasetFacts(msgspec.Struct, frozen=True):
    """What one complete pass over the dataset found, before anything is sent."""

    rows: int
    columns: tuple[str, ...]
    fingerprint: str  #: of the content: the same rows in the same files give the same fingerprint, wherever they lie
    sources: tuple[str, ...]  #: the URIs, in the order in which they are read
    #: What was taken for granted: ``format``, ``delimiter`` and ``left_out``, where there is such a thing.
    assumed: dict[str, Any] = {}
    #: The different texts of the column that names badges, by the column: ten thousand and one where there are more.
    distinct: dict[str, frozenset[str]] = {}


class Window(Protocol):
    """Some consecutive rows of one source, column by column."""

    first_row_number: int  #: position in the whole dataset, from 1
    source: str  #: URI of the file, or ``"rows"`` for a list of dicts

    def __len__(self) -> int: ...

    def column(self, name: str) -> Sequence[Any]:
        """All values of one column, in order, as Python values.

        Timestamps with a zone come from Parquet as ``int`` epoch seconds (floored, cheap), from a list of dicts as
        ``datetime``; naive ones as naive ``datetime``; dates as ``date``; integers as ``int``; decimals as
        ``Decimal``; NaN as a float; nested values as lists and dicts; CSV values as ``str``; missing values as
        ``None``; what Python cannot hold as an ``OddValue``. A column that this source does not have is a
        ``KeyError``, but for JSON Lines and lists of dicts, where it is all ``None``.
        """
        ...

    def arrow(self, name: str) -> pa.Array[Any] | None:
        """The same values as an Arrow array of 64-bit integers or text, where they are kept as such; else ``None``."""
        ...

    def is_in_seconds(self, name: str) -> bool:
        """Whether the numbers of a column are epoch seconds, whatever numbers of the dataset count."""
        ...

    def original(self, index: int) -> dict[str, Any]:
        """Row ``index`` (from 0 within the window) as the dataset gave it: every column, JSON-ready, for the report.

        Never raises, whatever the values: a row's outcome is recorded together with it.
        """
        ...

    def line(self, index: int) -> int:
        """Where the row stands in its own source, from 1: in text the line, as an editor counts, else the row."""
        ...


class Dataset(Protocol):
    """A frozen snapshot of rows that can be read from the start as often as needed."""

    def inspect(self) -> DatasetFacts:
        """Read everything once, quickly; raise one ``DatasetError`` that names whatever is wrong with the whole."""
        ...

    def windows(self, rows: int) -> Iterator[Window]:
        """Stream the rows in order, at most ``rows`` a window, windows never crossing a source.

        Inspects first if that was not done. A local file that changed since its inspection is a ``DatasetError``.
        """
        ...

    def close(self) -> None:
        """Remove local copies of remote files; may be called twice. The dataset cannot be read afterwards."""
        ...
