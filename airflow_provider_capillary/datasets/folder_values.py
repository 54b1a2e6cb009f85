"""A window whose rows have further columns, of one value each: those that the names of their folders stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from airflow_provider_capillary.datasets.base import Window


class WithFolderValues:
    """Another window, with columns added."""

    def __init__(self, window: Window, values: Mapping[str, Any]) -> None:
        self._window = window
        self._values = values
        self.source = window.source
        self.first_row_number = window.first_row_number

    def __len__(self) -> int:
        return len(self._window)

    def column(self, name: str) -> Sequence[Any]:
        """All values of one column, the file's own or the folder's."""
        return [self._values[name]] * len(self) if name in self._values else self._window.column(name)

    def arrow(self, name: str) -> pa.Array[Any] | None:
        """The file's own values as an Arrow array, where they are kept as one."""
        return None if name in self._values else self._window.arrow(name)

    def is_in_seconds(self, name: str) -> bool:
        """Whether its numbers are epoch seconds."""
        return name not in self._values and self._window.is_in_seconds(name)

    def original(self, index: int) -> dict[str, Any]:
        """One row, with the folder's values."""
        return self._window.original(index) | dict(self._values)

    def line(self, index: int) -> int:
        """The row's place in its file, from 1."""
        return self._window.line(index)
