"""Parts become a dataset at once or not at all: they are brought beside the target first, then put in its place."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_capillary.datasets.locations import INCOMPLETE_MARKER, local_path
from airflow_provider_capillary.datasets.object_storage import children_of, storage
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

_OURS = re.compile(rf"part-\d{{5}}-of-\d{{5}}\.parquet|{INCOMPLETE_MARKER}")


def publish(parts: Sequence[Path], uri: str) -> list[str]:
    """Replace what lies at ``uri`` by these parts (local files, which are moved) and return their URIs.

    On a local disk the folder is exchanged by two renames. Object storage has no rename: there a marker file keeps
    ``open_dataset`` from reading the folder between the first part removed and the last one put in place.

    :raises ConfigurationError: the folder holds files that no extract has written; nothing is touched then.
    """
    path = local_path(uri)
    if path is None:
        _publish_to_storage(parts, uri)
    else:
        _publish_locally(parts, uri, path)
    return [f"{uri.rstrip('/')}/{part.name}" for part in parts]


def check_target(uri: str) -> None:
    """Refuse a target that is no folder of an earlier extract; what lies there would be deleted.

    :raises ConfigurationError: the target is a file, a top folder, or a folder that holds anything else than parts.
    """
    path = local_path(uri)
    if path is None:
        top = uri.split("://", 1)[1].strip("/").count("/") == 0
        found = list(_names_in_storage(uri))
    else:
        top = path.resolve().parent == path.resolve()
        if path.exists() and not path.is_dir():
            raise ConfigurationError(f"{uri}: is a file. Give dataset_path a folder of its own.")
        found = [child.name for child in path.iterdir()] if path.is_dir() else []
    if top:
        raise ConfigurationError(f"{uri}: a top folder. Give dataset_path a folder of its own below it.")
    foreign = sorted(name for name in found if not _OURS.fullmatch(name))
    if foreign:
        raise ConfigurationError(
            f"{uri}: the folder holds {foreign[0]!r}, which is no part of an earlier extract and would be deleted. "
            "Give dataset_path a folder of its own."
        )


def _names_in_storage(uri: str) -> Sequence[str]:
    with suppress(DatasetError):  # nothing there yet
        children = children_of(uri)
        if children is None:
            raise ConfigurationError(f"{uri}: is a file. Give dataset_path a folder of its own.")
        return list(children)
    return []


def _publish_locally(parts: Sequence[Path], uri: str, target: Path) -> None:
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.incomplete-"
    for leftover in target.parent.glob(f"{_glob_safe(prefix)}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent, ignore_cleanup_errors=True) as sibling:
        staged = Path(sibling, "new")
        staged.mkdir()  # unlike its parent, open to whom the umask allows
        for part in parts:
            shutil.move(part, staged / part.name)
        check_target(uri)
        replaced = Path(sibling, "old")
        if target.exists():
            target.rename(replaced)
        try:
            staged.rename(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise


def _publish_to_storage(parts: Sequence[Path], uri: str) -> None:
    with storage(uri) as (filesystem, path):
        target = path.rstrip("/")
        parent, _, name = target.rpartition("/")
        prefix = f"{parent}/.{name}.incomplete-"
        for leftover in filesystem.glob(f"{_glob_safe(prefix)}*"):
            filesystem.rm(leftover, recursive=True)
        sibling = f"{prefix}{uuid4().hex}"
        filesystem.makedirs(sibling, exist_ok=True)
        try:
            for part in parts:
                filesystem.put_file(str(part), f"{sibling}/{part.name}")
            check_target(uri)
            _exchange(filesystem, sibling, target, [part.name for part in parts])
        finally:
            with suppress(OSError):  # must not hide what went wrong above; the next try removes what stays
                filesystem.rm(sibling, recursive=True)


def _exchange(filesystem: Any, sibling: str, target: str, names: list[str]) -> None:
    # A failure in here leaves the marker behind on purpose: the folder stays refused until an extract succeeds.
    marker = f"{target}/{INCOMPLETE_MARKER}"
    filesystem.makedirs(target, exist_ok=True)
    filesystem.pipe_file(marker, b"")
    filesystem.invalidate_cache()
    for found in filesystem.ls(target, detail=False):
        if str(found).rsplit("/", 1)[-1] not in ("", INCOMPLETE_MARKER, *names):
            filesystem.rm_file(str(found))
    for name in names:
        filesystem.cp_file(f"{sibling}/{name}", f"{target}/{name}")
    filesystem.rm_file(marker)


def _glob_safe(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
