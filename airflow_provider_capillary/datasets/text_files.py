"""Files as bytes and text: opened, hashed, their lines counted; what fails is said in words a person can act on."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pyarrow as pa

from airflow_provider_capillary.exceptions import DatasetError

if TYPE_CHECKING:
    from _csv import Reader

_BUFFER_BYTES = 1 << 20
_LINE_END = re.compile(r"\r\n|\r|\n")


class BrokenZstdError(Exception):
    """The stream ends too soon, or is no zstd."""


#: What reading raises where the file is to blame. Other trouble (a disk error) is not.
FILE_ERRORS = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    BrokenZstdError,
)


def unreadable(uri: str, error: Exception) -> DatasetError:
    """The error for a file of which reading raised one of ``FILE_ERRORS``."""
    match error:
        case FileNotFoundError():
            return no_such_file(uri)
        case PermissionError():
            return DatasetError(f"{uri}: no permission to read. Grant the worker's user access.")
        case IsADirectoryError() | NotADirectoryError():
            return DatasetError(f"{uri}: not a file. Name a file, or a folder that holds files only.")
        case _:
            kind = "zstd" if isinstance(error, BrokenZstdError) else "gzip"
            return DatasetError(f"{uri}: broken or truncated {kind} ({error}). Write or transfer the file again.")


def no_such_file(uri: str) -> DatasetError:
    """The error for a file that is not there."""
    return DatasetError(f"{uri}: no such file. Check the path and whether the task before has written it.")


def digest_of(path: Path) -> bytes:
    """The digest of a file's bytes as they lie on disk (compressed ones stay compressed)."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb", buffering=0) as source:
        while block := source.read(_BUFFER_BYTES):
            digest.update(block)
    return digest.digest()


class TextBytes(io.RawIOBase):
    """The bytes of a plain, gzip or zstd file; remembers the last one, which shows whether the last line has an end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._source = _decompressed(path)
        self.last = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to the size of the buffer."""
        try:
            count: int = self._source.readinto(buffer)
        except (pa.ArrowException, OSError) as error:
            if isinstance(self._source, pa.NativeFile):
                raise BrokenZstdError(str(error)) from error
            raise
        if count:
            self.last = bytes(buffer[count - 1 : count])
        return count

    def close(self) -> None:
        """Close the file."""
        self._source.close()
        super().close()


def _decompressed(path: Path) -> Any:
    """By the first bytes, as object storages leave compression out of names; else by the name, so that it fails."""
    with path.open("rb", buffering=0) as file:
        start = file.read(4)
    name = path.name.lower()
    if start[:2] == b"\x1f\x8b" or name.endswith(".gz"):
        return gzip.GzipFile(path)
    if start == b"\x28\xb5\x2f\xfd" or (name.endswith(".zst") and start):
        return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")
    return path.open("rb", buffering=0)


def open_bytes(path: Path) -> BinaryIO:
    """A buffered byte stream of a plain, gzip or zstd file, with a UTF-8 byte order mark at its start skipped."""
    stream = io.BufferedReader(TextBytes(path), _BUFFER_BYTES)
    try:
        if stream.peek(3)[:3] == b"\xef\xbb\xbf":
            stream.read(3)
    except BaseException:
        stream.close()
        raise
    return cast(BinaryIO, stream)


def not_utf8(uri: str, path: Path) -> DatasetError:
    """The error for a file that is not UTF-8, naming the first line that is not; reads the file up to there."""
    advice = "Save the file as UTF-8."
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return DatasetError(f"{uri}: not UTF-8 but UTF-16. {advice}")
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = f"byte 0x{line[error.start]:02x} at {error.start + 1}"
                return DatasetError(f"{uri}, line {number}: not UTF-8 ({found}). {advice}")
    return DatasetError(f"{uri}: not UTF-8. {advice}")


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
