"""Where a dataset lies: a local path, or a URI of an object storage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_capillary.core.given_values import is_nothing, shown
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError


def local_path(uri: str) -> Path | None:
    """The path of a local file or folder (plain or ``file://``), or ``None`` for anything on object storage."""
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    if parts.netloc.rpartition("@")[2] not in ("", "localhost"):
        raise DatasetError(f"{uri}: a local file needs three slashes, as in file:///{parts.netloc}{parts.path}")
    # Not urlsplit().path: Airflow takes '?', '#' and '%20' of a file URI as they stand, and so must this.
    return Path("/" + uri.split("://", 1)[1].partition("/")[2])


def named(dataset: Any) -> Any:
    """The dataset with paths of any class (``pathlib``, Airflow's ``ObjectStoragePath``) as text, in a list too."""
    if isinstance(dataset, os.PathLike):
        return os.fspath(dataset)
    if hasattr(dataset, "storage_options") and hasattr(dataset, "path"):
        return str(dataset)  # keeps the connection, as in s3://conn@bucket/key
    return [named(member) for member in dataset] if isinstance(dataset, (list, tuple)) else dataset


def check_place(uri: Any) -> None:
    """Refuse what no dataset can be written to, whatever lies there.

    :raises ConfigurationError: the target is no URI, a relative path or a top folder.
    """
    if not isinstance(uri, str) or is_nothing(uri):
        raise ConfigurationError(f"dataset_path is {shown(uri)}; it may be the URI of a folder, file:// or remote")
    path = local_path(uri)
    if path is not None and not path.is_absolute():
        raise ConfigurationError(f"dataset_path {uri!r} is relative: workers differ in where that is. Give a URI.")
    if path is None:
        is_top = uri.split("://", 1)[1].strip("/").count("/") == 0
    else:
        is_top = path.resolve().parent == path.resolve()
    if is_top:
        raise ConfigurationError(f"{uri}: a top folder. Give dataset_path a folder of its own below it.")
