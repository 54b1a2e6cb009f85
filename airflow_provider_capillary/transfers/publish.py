"""Parts become a dataset at once or not at all, on a local disk and on object storage alike.

New parts are put beside those that lie there, which their names keep apart. Then one small file, the manifest, is
replaced: from that moment on the new parts are the dataset. What is no part of it is removed last. Killed at any
instant, this leaves the earlier dataset whole or the new one, and files that no reader takes for data.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_capillary.datasets.locations import check_place
from airflow_provider_capillary.datasets.manifest import MANIFEST, Manifest, decoded, is_ours, published_names
from airflow_provider_capillary.datasets.storage import Folder
from airflow_provider_capillary.exceptions import CapillaryError, ConfigurationError, DatasetError, RetryableError

log = logging.getLogger(__name__)

_ROUNDS = 3


def publish(parts: Sequence[Path], uri: str, rows: int) -> list[str]:
    """Make these local files the dataset at ``uri``, in the place of the earlier one; return their URIs.

    Two tries at once are safe: the last one to replace the manifest wins, whole.

    :raises ConfigurationError: the folder cannot be used, see ``check_target``; nothing is touched then.
    :raises RetryableError: storage or disk failed; what lay at ``uri`` before is there still.
    """
    folder = Folder(uri)
    before = check_target(uri)
    names = published_names(parts)
    manifest = Manifest(tuple(names), rows).encode()
    try:
        for _ in range(_ROUNDS):
            for part, name in zip(parts, names, strict=True):
                folder.put(part, name)
            folder.write(MANIFEST, manifest)
            _tidy(folder, {*before, *names}, uri)
            if _is_whole(folder, uri):
                return [f"{uri.rstrip('/')}/{name}" for name in names]
    except BaseException:
        _tidy(folder, {*before, *names}, uri)
        raise
    raise RetryableError(f"{uri}: another try of this task is at work there. Let one of them end, then run it again.")


def check_target(uri: str) -> list[str]:
    """The files in a target folder; refused is one that is not of an extract: what lies there would be in danger.

    :raises ConfigurationError: the target is a file, a top folder, a relative path, or holds anything but parts.
    """
    check_place(uri)
    found = _names(Folder(uri))
    if found is None:
        raise ConfigurationError(f"{uri}: is a file. Give dataset_path a folder of its own.")
    foreign = sorted(name for name in found if not is_ours(name))
    if foreign:
        raise ConfigurationError(
            f"{uri}: the folder holds {foreign[0]!r}, which no extract has written. "
            "Give dataset_path a folder of its own."
        )
    return found


def _names(folder: Folder) -> list[str] | None:
    try:
        children = folder.children()
    except DatasetError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    return None if children is None else list(children)


def _tidy(folder: Folder, candidates: set[str], uri: str) -> None:
    """Remove what the manifest that lies there does not name; a failure of this is no failure of the extract."""
    try:
        manifest = _manifest(folder, _names(folder) or (), uri)
        folder.remove(sorted(candidates - {MANIFEST, *(manifest.parts if manifest else ())}))
    except (OSError, CapillaryError) as error:
        log.warning("%s: files that are no part of the dataset could not be removed: %s", uri, error)


def _is_whole(folder: Folder, uri: str) -> bool:
    """Whether all parts are there, ours or another try's: of two that tidy at once, one may take the other's away."""
    names = _names(folder) or ()
    manifest = _manifest(folder, names, uri)
    return manifest is not None and set(manifest.parts) <= set(names)


def _manifest(folder: Folder, names: Sequence[str], uri: str) -> Manifest | None:
    return decoded(folder.read(MANIFEST), uri) if MANIFEST in names else None
