"""Remote files copied to a local folder: large ones one by one, small ones many at a time and ahead of their turn.

What is copied is of one version of the object and as long as its storage states, or it is refused.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow_provider_capillary.datasets.storage import filesystem_at, overwritten, room_on_disk
from airflow_provider_capillary.exceptions import DatasetError

_COPY_BYTES = 1 << 20
_AHEAD_BYTES = 8 << 20  # s3fs would read 50 MiB ahead of each request
_SMALL_BYTES = 1 << 20
_MOST_BYTES = 8 << 20  #: of small files that are fetched together; as many may wait in memory to be read
_MOST_FILES = 500
_AT_ONCE = 32  # requests for small files
_NO_ENCODING = (None, "", "identity")
#: What differs between two versions of an object, as S3, Google's and Azure's filesystems and fsspec's own call it.
_VERSION_MARKS = ("size", "ETag", "etag", "generation", "LastModified", "last_modified", "updated", "mtime", "created")
_STORED_OTHERWISE = (
    "Its end would be cut off. Store it without Content-Encoding, under a name that ends in .gz where it is compressed."
)


class RemoteFiles:
    """Copies the remote ones of some files, asked for in their order, and keeps the copies until it is closed."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._following = dict(pairwise(uris))
        self._sizes: dict[str, dict[str, int]] = {}  #: of the folder listed last, by the names in it
        self._contents: dict[str, bytes] = {}  #: of files that came with an earlier one
        self._ahead: tuple[list[str], Future[dict[str, bytes]]] | None = None  #: files on their way
        self._fetching = ThreadPoolExecutor(1, "capillary-dataset")
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copies = 0

    def copy(self, uri: str) -> tuple[Path, bytes]:
        """A local copy of a file, and the digest of its bytes."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="capillary-dataset-")
        target = Path(self._folder.name, f"{self._copies:05d}-{uri.rsplit('/', 1)[-1]}")
        self._copies += 1
        if uri not in self._contents:
            with suppress(Exception):  # what is wrong with one file is found, and said, where it is copied alone
                self._take(uri)
        content = self._contents.pop(uri, None)
        if content is None:
            return target, copy_to_local(uri, target)
        with room_on_disk(uri):
            target.write_bytes(content)
        return target, hashlib.blake2b(content, digest_size=32).digest()

    def close(self) -> None:
        """Remove the copies; may be called twice."""
        self._fetching.shutdown(cancel_futures=True)
        self._contents.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _take(self, uri: str) -> None:
        """Wait for a file and those that come with it. The next ones are asked for before these are read."""
        if self._ahead is None or uri not in self._ahead[0]:
            self._fetch(uri)
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            self._contents = ahead[1].result()
            self._fetch(self._following.get(ahead[0][-1], ""))

    def _fetch(self, uri: str) -> None:
        """Begin to get a file and the small ones that follow it in its folder."""
        sizes = dict(self._small_ones_from(uri))
        if len(sizes) > 1:
            get = contents_of(uri.rpartition("/")[0], sizes)
            self._ahead = list(sizes), self._fetching.submit(get)

    def _small_ones_from(self, uri: str) -> Iterator[tuple[str, int]]:
        folder, one, total, count = uri.rpartition("/")[0], uri, 0, 0
        if self._following.get(uri, "").rpartition("/")[0] != folder:
            return
        if folder not in self._sizes:
            self._sizes = {folder: {}}  # who may read files need not be allowed to list them: asked once only
            self._sizes[folder] = sizes_of(folder)
        while one.rpartition("/")[0] == folder and count < _MOST_FILES:
            size = self._sizes[folder].get(one.rpartition("/")[2])
            if size is None or size > _SMALL_BYTES or total + size > _MOST_BYTES:
                return
            total, count = total + size, count + 1
            yield one, size
            one = self._following.get(one, "")


def copy_to_local(uri: str, target: Path) -> bytes:
    """Copy one file to ``target`` and return the digest of its bytes, in one pass and flat memory."""
    digest = hashlib.blake2b(digest_size=32)
    with filesystem_at(uri) as (filesystem, path), filesystem.open(path, "rb", block_size=_AHEAD_BYTES) as source:
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
        raise overwritten(uri, f"{', '.join(changed)} changed")


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


def sizes_of(uri: str) -> dict[str, int]:
    """The size of each file of a folder, by its name, as it is listed; not of those stored with an encoding."""
    with filesystem_at(uri) as (filesystem, path):
        listing = filesystem.ls(path, detail=True)  # often the one by which the files were found a moment ago
        filesystem.invalidate_cache()  # of many files it is much to keep, and to go through whenever Python tidies up
    sizes = {_name_of(child): child.get("size") for child in listing if _encoding_of(child) in _NO_ENCODING}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def contents_of(folder: str, sizes: Mapping[str, int]) -> Callable[[], dict[str, bytes]]:
    """What gets many small files of a folder at once: by their URIs those that have the size they were listed with.

    Each is one request, and so of one version. The rest is left out.
    """
    with filesystem_at(folder) as (filesystem, path):
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
