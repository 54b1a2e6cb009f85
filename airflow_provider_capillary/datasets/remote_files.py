"""Remote files copied to a local folder: large ones one by one, small ones many at a time."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from airflow_provider_capillary.datasets.disk import room_on_disk
from airflow_provider_capillary.datasets.object_storage import copy_to_local, sizes_of, storage

_SMALL_BYTES = 1 << 20
_MOST_BYTES = 16 << 20  #: of small files in memory at a time
_MOST_FILES = 100


class RemoteFiles:
    """Copies the remote ones of some files, asked for in their order, and keeps the copies until it is closed."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._following = dict(pairwise(uris))
        self._sizes: dict[str, dict[str, int]] = {}  #: of the folder listed last, by the names in it
        self._contents: dict[str, bytes] = {}  #: of files that came with an earlier one
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
                self._fetch(uri)
        content = self._contents.pop(uri, None)
        if content is None:
            return target, copy_to_local(uri, target)
        with room_on_disk(uri):
            target.write_bytes(content)
        return target, hashlib.blake2b(content, digest_size=32).digest()

    def close(self) -> None:
        """Remove the copies; may be called twice."""
        self._contents.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _fetch(self, uri: str) -> None:
        """Get a file and the small ones that follow it in its folder at once; each is one request, so one version."""
        sizes = dict(self._small_ones_from(uri))
        if len(sizes) < 2:
            return
        folder = uri.rpartition("/")[0]
        with storage(folder) as (filesystem, path):
            paths = [f"{path.rstrip('/')}/{one.rpartition('/')[2]}" for one in sizes]
            # Up to one byte behind the end, where nothing may be. Without an end, or by ``cat``, s3fs would look each
            # file up in the whole of the folder's listing first.
            ends = [size + 1 for size in sizes.values()]
            found = filesystem.cat_ranges(paths, [0] * len(paths), ends, on_error="return")
        for (one, size), content in zip(sizes.items(), found, strict=True):
            if isinstance(content, bytes) and len(content) == size:
                self._contents[one] = content

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
