"""Files on any object storage that Airflow knows; the only module of the datasets that touches Airflow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_capillary.datasets.disk import room_on_disk
from airflow_provider_capillary.datasets.text_files import no_such_file
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, DatasetError, RetryableError

_COPY_BYTES = 1 << 20
_AHEAD_BYTES = 8 << 20  # s3fs would read 50 MiB ahead of each request
_AT_ONCE = 32  # requests for small files
_S3_UPLOAD = {"chunksize": 8 << 20, "max_concurrency": 3}  # s3fs alone would hold ten pieces of 50 MiB
_STORED_OTHERWISE = (
    "Its end would be cut off. Store it without Content-Encoding, under a name that ends in .gz where it is compressed."
)
_NO_ENCODING = (None, "", "identity")
#: What differs between two versions of an object, as S3, Google's and Azure's filesystems and fsspec's own call it.
_VERSION_MARKS = ("size", "ETag", "etag", "generation", "LastModified", "last_modified", "updated", "mtime", "created")
_BUCKETS = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})


@contextmanager
def storage(uri: str) -> Iterator[tuple[Any, str]]:
    """The fsspec filesystem of a URI and the path within it; whatever goes wrong says what to do about it.

    :raises FixableError: no such connection, bucket or file, no permission
    :raises RetryableError: anything else, such as a lost connection: a later try may succeed
    """
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
            raise _overwritten(uri, "the version that was opened is gone") from error
        raise _unavailable(uri, error) from error  # every filesystem has exceptions of its own


def make_folder(filesystem: Any, path: str) -> None:
    """Make a folder where the storage has any; for s3fs and the like it would make a bucket of a typing error."""
    if not _has_buckets(filesystem):
        filesystem.makedirs(path, exist_ok=True)


def upload(filesystem: Any, source: Path, path: str) -> None:
    """Upload a local file of any size in bounded memory."""
    filesystem.put_file(str(source), path, **(_S3_UPLOAD if "s3" in _protocols(filesystem) else {}))


def children_of(uri: str) -> dict[str, bool] | None:
    """Names in a folder and whether each is a folder itself; ``None`` if the URI names a file."""
    with storage(uri) as (filesystem, path):
        # A listing cached by an earlier task of the same worker would show parts that are gone.
        filesystem.invalidate_cache(path)
        if filesystem.info(path)["type"] != "directory":
            return None
        listing = {str(child["name"]).strip("/"): child["type"] for child in filesystem.ls(path, detail=True)}
    listing.pop(path.strip("/"), None)  # some stores list the folder's own marker object as its child
    return {name.rsplit("/", 1)[-1]: kind == "directory" for name, kind in listing.items()}


def sizes_of(uri: str) -> dict[str, int]:
    """The size of each file of a folder, by its name, as it is listed; not of those stored with an encoding."""
    with storage(uri) as (filesystem, path):
        listing = filesystem.ls(path, detail=True)  # often the one by which the files were found a moment ago
        filesystem.invalidate_cache()  # of many files it is much to keep, and to go through whenever Python tidies up
    sizes = {_name_of(child): child.get("size") for child in listing if _encoding_of(child) in _NO_ENCODING}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def contents_of(folder: str, sizes: Mapping[str, int]) -> Callable[[], dict[str, bytes]]:
    """What gets many small files of a folder at once: by their URIs those that have the size they were listed with.

    Each is one request, and so of one version. The rest is left out.
    """
    with storage(folder) as (filesystem, path):
        paths = [f"{path.rstrip('/')}/{uri.rpartition('/')[2]}" for uri in sizes]
    # Up to one byte behind the end, where nothing may be. Without an end, or by ``cat``, s3fs would look each file
    # up in the whole of the folder's listing first.
    ends = [size + 1 for size in sizes.values()]
    at_once = {"batch_size": _AT_ONCE} if filesystem.async_impl else {}

    def get() -> dict[str, bytes]:
        found = filesystem.cat_ranges(paths, [0] * len(paths), ends, on_error="return", **at_once)
        came = zip(sizes.items(), found, strict=True)
        return {uri: content for (uri, size), content in came if isinstance(content, bytes) and len(content) == size}

    return get


def _name_of(child: dict[str, Any]) -> str:
    return str(child["name"]).rstrip("/").rsplit("/", 1)[-1]


def matching(uri: str) -> list[str]:
    """The URIs that a pattern stands for, sorted."""
    with storage(uri) as (filesystem, path):
        filesystem.invalidate_cache()
        everything = filesystem.glob(path, detail=True)
    # two stars go through folders anyway, so that what is in these is found without them
    found = sorted(name for name, info in everything.items() if "**" not in path or info["type"] != "directory")
    scheme, _, rest = uri.partition("://")
    connection = rest.partition("/")[0].rpartition("@")[0]
    prefix = f"{scheme}://{connection}@" if connection else f"{scheme}://"
    return [f"{prefix}{name.removeprefix(f'{scheme}://').lstrip('/')}" for name in found]


def copy_to_local(uri: str, target: Path) -> bytes:
    """Copy one file to ``target`` and return the digest of its bytes, in one pass and flat memory."""
    digest = hashlib.blake2b(digest_size=32)
    with storage(uri) as (filesystem, path), filesystem.open(path, "rb", block_size=_AHEAD_BYTES) as source:
        size = getattr(source, "size", None)
        details = getattr(source, "details", None) or filesystem.info(path)
        _must_be_stored_as_read(uri, details)
        with room_on_disk(uri), target.open("wb") as copy:
            while block := source.read(_COPY_BYTES):
                digest.update(block)
                copy.write(block)
            if size is not None and copy.tell() < size:
                raise EOFError(f"{copy.tell()} of {size} bytes came")
            if copy.tell() == size and _goes_on(source, size):
                raise DatasetError(
                    f"{uri}: gives more than the {size} bytes that its storage states. {_STORED_OTHERWISE}"
                )
        if size is None or size > _AHEAD_BYTES:  # else it came in one request, and so as one version
            _must_be_unchanged(uri, filesystem, path, details)
    return digest.digest()


def _must_be_unchanged(uri: str, filesystem: Any, path: str, before: dict[str, Any]) -> None:
    """Refuse an object that was overwritten while it was read in pieces: the copy may be of two versions."""
    filesystem.invalidate_cache(filesystem._parent(path))
    after = filesystem.info(path)
    changed = [name for name in _VERSION_MARKS if before.get(name) != after.get(name)]
    if changed:
        raise _overwritten(uri, f"{', '.join(changed)} changed")


def _overwritten(uri: str, how: str) -> DatasetError:
    return DatasetError(
        f"{uri}: was overwritten while it was read ({how}). Let the task that writes it finish first, and write under "
        "a new name each time."
    )


def _must_be_stored_as_read(uri: str, details: dict[str, Any]) -> None:
    """Refuse what a storage decompresses as it serves it: the size it states is another, and reading ends there."""
    encoding = _encoding_of(details)
    if encoding not in _NO_ENCODING:
        raise DatasetError(
            f"{uri}: is stored with Content-Encoding {encoding}, so its size need not be that of what is read. "
            f"{_STORED_OTHERWISE}"
        )


def _encoding_of(details: dict[str, Any]) -> Any:
    stated = {**details, **getattr(details.get("content_settings"), "__dict__", {})}  # adlfs has an object of them
    names = {name: str(name).lower().replace("_", "").replace("-", "") for name in stated}
    return next((value for name, value in stated.items() if names[name] == "contentencoding"), None)


def _goes_on(source: Any, size: int) -> bool:
    """Whether there is anything behind the size that a storage states, where fsspec's files stop reading."""
    fetch = getattr(source, "_fetch_range", None)
    if fetch is None:
        return False
    with suppress(Exception):  # what a storage answers to a range behind the end has many classes
        return bool(fetch(size, size + 1))
    return False


def _attached(uri: str) -> tuple[Any, str]:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.exceptions import AirflowNotFoundException

    scheme = uri.split("://", 1)[0]
    try:
        path = ObjectStoragePath(uri)
        filesystem = path.fs
        if _is_anonymous(filesystem):
            _must_have_connection(uri)
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"{uri}: {error}. Create the connection or correct its id in the URI.") from error
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{uri}: no filesystem for {scheme}:// ({error}). Install the Airflow provider that brings it."
        ) from error
    return filesystem, path.path


def _must_have_connection(uri: str) -> None:
    """Without it Amazon's provider would go on without credentials, and its refusal is hard to understand."""
    from airflow.sdk import BaseHook

    if conn_id := _connection_id(uri):
        BaseHook.get_connection(conn_id)


def _connection_id(uri: str) -> str:
    return uri.split("://", 1)[1].split("/", 1)[0].rpartition("@")[0]


def _is_anonymous(filesystem: Any) -> bool:
    return getattr(filesystem, "anon", False) is True


def _protocols(filesystem: Any) -> frozenset[str]:
    protocol = filesystem.protocol
    return frozenset((protocol,) if isinstance(protocol, str) else protocol)


def _has_buckets(filesystem: Any) -> bool:
    return bool(_BUCKETS & _protocols(filesystem))


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
