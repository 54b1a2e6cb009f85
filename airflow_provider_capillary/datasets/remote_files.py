"""Remote files copied to a local folder: large ones one by one, small ones many at a time and ahead of their turn."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from airflow_provider_capillary.datasets.disk import room_on_disk
from airflow_provider_capillary.datasets.object_storage import contents_of, copy_to_local, sizes_of

_SMALL_BYTES = 1 << 20
_MOST_BYTES = 8 << 20  #: of small files that are fetched together; as many may wait in memory to be read
_MOST_FILES = 500


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
