"""Where rows stand in a text file, as an editor counts its lines from 1; worked out only where a row is reported."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Reader

_LINE_END = re.compile(r"\r\n|\r|\n")


class LinesPassed:
    """Gathered while a file is read: where the next row begins, and which lines since the last window hold no row."""

    def __init__(self) -> None:
        self.first = 1  #: line of the next window, or of what stands before its first row
        self.without_row: list[int] = []
        self.reader: Reader | None = None  #: of a CSV file: it counts lines anyway
        self.before = 0  #: lines before those that the reader counts

    @property
    def last(self) -> int:
        """The last line of the row that was read last, of a CSV file."""
        return self.before + (0 if self.reader is None else self.reader.line_num)

    def next_window(self, last: int) -> tuple[int, Collection[int]]:
        """Give the window that ends on line ``last`` its first line and the lines that hold no row; begin anew."""
        first, without_row = self.first, self.without_row
        self.first, self.without_row = last + 1, []
        return first, without_row


def lines_of(rows: Iterable[Sequence[str]], first: int, without_row: Collection[int]) -> list[int]:
    """The line on which each row begins. A value with line ends in it makes its row go over several lines.

    :param first: the line on which the first row begins, or one that holds no row.
    """
    skipped, line, lines = frozenset(without_row), first, []
    for row in rows:
        while line in skipped:
            line += 1
        lines.append(line)
        line += 1 + sum(len(_LINE_END.findall(value)) for value in row)
    return lines
