"""A folder for a dataset, on a local disk or on object storage: files appear in it whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from airflow_provider_capillary.datasets.disk import room_on_disk
from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.datasets.object_storage import children_of, make_folder, storage, upload
from airflow_provider_capillary.datasets.text_files import FILE_ERRORS, unreadable
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

_TRIES = 3


class Folder(Protocol):
    """One folder, which need not exist yet."""

    def children(self) -> dict[str, bool] | None:
        """Names in it and whether each is a folder itself; ``None``: a file; ``DatasetError``: nothing there."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        ...

    def put(self, source: Path, name: str) -> None:
        """Add a copy of a local file, over one of the same name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Add a small file, over one of the same name."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no error."""
        ...


def folder_at(uri: str, setting: str = "dataset_path") -> Folder:
    """The folder that a URI or path names; ``setting`` is what a person corrects where it cannot be written."""
    path = local_path(uri)
    return StoredFolder(uri) if path is None else LocalFolder(uri, path, setting)


class LocalFolder:
    """A folder on a disk of this machine, or one that is mounted there."""

    def __init__(self, uri: str, path: Path, setting: str = "dataset_path") -> None:
        self._uri = uri
        self._path = path
        self._setting = setting

    def children(self) -> dict[str, bool] | None:
        """What is in it."""
        try:
            if not self._path.is_dir():
                self._path.lstat()
                return None
        except FILE_ERRORS as error:
            raise unreadable(self._uri, error) from error
        try:
            with os.scandir(self._path) as found:
                return {child.name: child.is_dir() for child in found}
        except PermissionError as error:
            raise DatasetError(
                f"{self._uri}: no permission to list the folder. Grant the worker's user access."
            ) from error

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        try:
            return (self._path / name).read_bytes()
        except FILE_ERRORS as error:
            raise unreadable(f"{self._uri.rstrip('/')}/{name}", error) from error

    def put(self, source: Path, name: str) -> None:
        """Add a copy of a local file; where both are on one disk, without copying."""
        self._bring(name, lambda unfinished: _link_or_copy(source, unfinished))

    def write(self, name: str, content: bytes) -> None:
        """Add a small file by a rename, so that no reader sees half of it."""
        self._bring(name, lambda unfinished: unfinished.write_bytes(content))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and the folder itself where it is empty then."""
        for name in names:
            (self._path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self._path.rmdir()

    def _bring(self, name: str, fill: Callable[[Path], object]) -> None:
        with self._writing(), room_on_disk(self._uri):
            for tries_left in reversed(range(_TRIES)):
                self._path.mkdir(parents=True, exist_ok=True)
                unfinished = self._path / f".{name}.{uuid4().hex}"
                try:
                    fill(unfinished)
                    unfinished.replace(self._path / name)
                    return
                except FileNotFoundError:  # another try of the same task has tidied up in the meantime
                    if not tries_left:
                        raise
                finally:
                    unfinished.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise ConfigurationError(
                f"{self._uri}: cannot be written ({error}). Correct {self._setting} or the rights."
            ) from error


class StoredFolder:
    """A folder on object storage; an upload replaces a file at once."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def children(self) -> dict[str, bool] | None:
        """What is in it."""
        return children_of(self._uri)

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        with storage(self._uri) as (filesystem, path):
            return bytes(filesystem.cat_file(_inside(path, name)))

    def put(self, source: Path, name: str) -> None:
        """Upload a local file."""
        with storage(self._uri) as (filesystem, path):
            make_folder(filesystem, path)
            upload(filesystem, source, _inside(path, name))

    def write(self, name: str, content: bytes) -> None:
        """Upload a small file."""
        with storage(self._uri) as (filesystem, path):
            make_folder(filesystem, path)
            filesystem.pipe_file(_inside(path, name), content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        with storage(self._uri) as (filesystem, path):
            for name in names:
                with suppress(FileNotFoundError):
                    filesystem.rm_file(_inside(path, name))


def _inside(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
