"""Files on a local disk and on any object storage by the same calls, those of fsspec; written files come whole.

Airflow only finds the filesystem of a connection. No other module of the datasets imports it.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.datasets.text_files import FILE_ERRORS, no_such_file, unreadable
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, DatasetError, RetryableError

_TRIES = 3
_S3_UPLOAD = {"chunksize": 8 << 20, "max_concurrency": 3}  # s3fs alone would hold ten pieces of 50 MiB
_BUCKETS = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # the last is the limit of one file's size (ulimit -f)


class Folder:
    """A folder on a disk or on object storage, which need not exist yet.

    :param setting: the parameter that a person corrects where the folder cannot be written.
    """

    def __init__(self, uri: str, setting: str = "dataset_path") -> None:
        self._uri = uri
        self._setting = setting

    def children(self) -> dict[str, bool] | None:
        """Names in it and whether each is a folder itself; ``None`` if the URI names a file.

        :raises DatasetError: there is nothing.
        """
        with filesystem_at(self._uri) as (filesystem, path):
            # A listing cached by an earlier task of the same worker would show parts that are gone.
            filesystem.invalidate_cache(path)
            if filesystem.info(path)["type"] != "directory":
                return None
            listing = {str(child["name"]).strip("/"): child["type"] for child in filesystem.ls(path, detail=True)}
        listing.pop(path.strip("/"), None)  # some stores list the folder's own marker object as its child
        return {name.rsplit("/", 1)[-1]: kind == "directory" for name, kind in listing.items()}

    def read(self, name: str) -> bytes:
        """The content of a small file."""
        with filesystem_at(self._uri) as (filesystem, path):
            return bytes(filesystem.cat_file(_inside(path, name)))

    def put(self, source: Path, name: str) -> None:
        """Add a copy of a local file of any size, over one of the same name; bounded memory."""
        with self._writing() as (filesystem, path):
            settings = _S3_UPLOAD if "s3" in _protocols(filesystem) else {}
            filesystem.put_file(str(source), _inside(path, name), **settings)

    def write(self, name: str, content: bytes) -> None:
        """Add a small file, over one of the same name."""
        with self._writing() as (filesystem, path):
            filesystem.pipe_file(_inside(path, name), content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and on a disk the folder where it is empty then; what is gone already is no error."""
        with filesystem_at(self._uri) as (filesystem, path):
            for name in names:
                with suppress(FileNotFoundError):
                    filesystem.rm_file(_inside(path, name))
            if isinstance(filesystem, _Disk):
                with suppress(OSError):
                    os.rmdir(path)

    @contextmanager
    def _writing(self) -> Iterator[tuple[Any, str]]:
        path = local_path(self._uri)
        if path is None:
            with filesystem_at(self._uri) as (filesystem, remote):
                if not _has_buckets(filesystem):  # else it would make a bucket of a typing error
                    filesystem.makedirs(remote, exist_ok=True)
                yield filesystem, remote
            return
        try:
            with room_on_disk(self._uri):
                yield _Disk(), str(path)
        except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise ConfigurationError(
                f"{self._uri}: cannot be written ({error}). Correct {self._setting} or the rights."
            ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, to be filled. It becomes ``path`` by a rename where the block ends without error."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def room_on_disk(what: str) -> Iterator[None]:
    """Turn a full disk into a ``RetryableError``: another worker, or this one later, may have room."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RetryableError(
            f"{what}: no room on this worker's disk ({error.strerror}). Free some of {tempfile.gettempdir()}, or set "
            "TMPDIR to a folder with more. Nothing half written was left."
        ) from error


def matching(uri: str) -> list[str]:
    """The URIs that a pattern stands for, sorted; of a local one the paths."""
    with filesystem_at(uri) as (filesystem, path):
        filesystem.invalidate_cache()
        everything = filesystem.glob(path, detail=True)
    # Two stars go through folders anyway, so that what is in these is found without them.
    found = sorted(name for name, info in everything.items() if "**" not in path or info["type"] != "directory")
    if local_path(uri) is not None:
        return found
    scheme, connection = uri.partition("://")[0], _connection_id(uri)
    prefix = f"{scheme}://{connection}@" if connection else f"{scheme}://"
    return [f"{prefix}{name.removeprefix(f'{scheme}://').lstrip('/')}" for name in found]


@contextmanager
def filesystem_at(uri: str) -> Iterator[tuple[Any, str]]:
    """The fsspec filesystem of a URI and the path within it; whatever goes wrong says what to do about it.

    :raises FixableError: no such connection, bucket or file, no permission
    :raises RetryableError: anything else on an object storage, such as a lost connection: a later try may succeed
    """
    local = local_path(uri)
    if local is not None:
        try:
            yield _Disk(), str(local)
        except FILE_ERRORS as error:
            raise unreadable(uri, error) from error
        return
    filesystem, path = _attached(uri)
    try:
        yield filesystem, path
    except CapillaryError:
        raise
    except FileNotFoundError as error:
        raise _missing(uri, filesystem, path) from error
    except PermissionError as error:
        raise _refused(uri, filesystem, error) from error
    except Exception as error:
        if type(error).__name__ == "FileExpired":  # s3fs asks for the version that it opened
            raise overwritten(uri, "the version that was opened is gone") from error
        raise _unavailable(uri, error) from error  # every filesystem has exceptions of its own


class _Disk(LocalFileSystem):  # type: ignore[misc] # without types
    """A disk of this machine, or what is mounted there.

    fsspec's own lists a link to a folder as neither folder nor file, and fills a file in its place.
    """

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        status = os.stat(path)
        return {"name": path, "type": "directory" if stat.S_ISDIR(status.st_mode) else "file", "size": status.st_size}

    def ls(self, path: str, **_: Any) -> list[dict[str, Any]]:
        with os.scandir(path) as found:
            return [{"name": child.path, "type": "directory" if child.is_dir() else "file"} for child in found]

    def glob(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        found = glob.glob(path, recursive=True)
        return {name: {"type": "directory" if os.path.isdir(name) else "file"} for name in found}

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self._bring(Path(rpath), lambda unfinished: _link_or_copy(lpath, unfinished))

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self._bring(Path(path), lambda unfinished: unfinished.write_bytes(value))

    def _bring(self, path: Path, fill: Callable[[Path], object]) -> None:
        for tries_left in reversed(range(_TRIES)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with whole_file(path) as unfinished:
                    fill(unfinished)
                return
            except FileNotFoundError:  # another try of the same task has tidied up in the meantime
                if not tries_left:
                    raise


def _link_or_copy(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)


def _inside(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


def _attached(uri: str) -> tuple[Any, str]:
    from airflow.sdk import BaseHook, ObjectStoragePath
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        path = ObjectStoragePath(uri)
        filesystem = path.fs
        if _is_anonymous(filesystem) and (conn_id := _connection_id(uri)):
            # Without it Amazon's provider goes on without credentials, and its refusal is hard to understand.
            BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"{uri}: {error}. Create the connection or correct its id in the URI.") from error
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{uri}: no filesystem for {uri.split('://', 1)[0]}:// ({error}). "
            "Install the Airflow provider that brings it."
        ) from error
    return filesystem, path.path


def _connection_id(uri: str) -> str:
    return uri.split("://", 1)[1].split("/", 1)[0].rpartition("@")[0]


def _is_anonymous(filesystem: Any) -> bool:
    return getattr(filesystem, "anon", False) is True


def _protocols(filesystem: Any) -> frozenset[str]:
    protocol = filesystem.protocol
    return frozenset((protocol,) if isinstance(protocol, str) else protocol)


def _has_buckets(filesystem: Any) -> bool:
    return bool(_BUCKETS & _protocols(filesystem))


def overwritten(uri: str, how: str) -> DatasetError:
    """The error for an object of which another version came in between."""
    return DatasetError(
        f"{uri}: was overwritten while it was read ({how}). Let the task that writes it finish first, and write under "
        "a new name each time."
    )


def _missing(uri: str, filesystem: Any, path: str) -> CapillaryError:
    bucket = path.strip("/").split("/", 1)[0]
    if _has_buckets(filesystem):
        with suppress(Exception):
            if not filesystem.exists(bucket):
                return ConfigurationError(
                    f"{uri}: there is no bucket {bucket!r}, or its connection may not see it. Correct the URI, or "
                    "create the bucket."
                )
    return no_such_file(uri)


def _refused(uri: str, filesystem: Any, error: PermissionError) -> DatasetError:
    conn_id = _connection_id(uri)
    user = f"user of connection {conn_id!r}" if conn_id else "worker's user"
    if _is_anonymous(filesystem):
        return DatasetError(
            f"{uri}: no permission ({error}): there were no credentials. Give the connection a login and a password, "
            "or the worker a role."
        )
    return DatasetError(f"{uri}: no permission ({error}). Grant the {user} access, or correct its credentials.")


def _unavailable(uri: str, error: Exception) -> RetryableError:
    where = f"the endpoint of connection {_connection_id(uri)!r}" if _connection_id(uri) else "the endpoint"
    return RetryableError(
        f"{uri}: the storage cannot be reached, or the connection was lost ({type(error).__name__}: {error}). "
        f"A later try may succeed; if none does, see to the network and {where}."
    )
