"""One stack at a time in one folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FolderInUseError(RuntimeError):
    """Another stack works in the folder."""


class FolderLock:
    """A lock on a folder. The kernel gives it back when its holder dies, however that happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None

    def take(self) -> None:
        """Take it, or say who has it."""
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode()
            os.close(descriptor)
            raise FolderInUseError(f"{self._folder} is in use by process {holder}; stop that first") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._held = descriptor

    def give_back(self) -> None:
        """Give it back, if it is held."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
