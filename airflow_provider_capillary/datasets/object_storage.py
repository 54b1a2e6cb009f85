"""Files on any object storage that Airflow knows; the only module of the datasets that touches Airflow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.datasets.text_files import no_such_file
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_COPY_BYTES = 1 << 20


@contextmanager
def storage(uri: str) -> Iterator[tuple[Any, str]]:
    """The fsspec filesystem of a URI and the path within it; what a person must fix comes as a ``FixableError``.

    Anything else (a timeout, a reset) goes through as it is: the task fails, and a retry may succeed.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    scheme = uri.split("://", 1)[0]
    try:
        path = _object_storage_path(uri)
        filesystem = path.fs
    except AirflowNotFoundException as error:
        raise ConfigurationError(f"{uri}: {error}. Create the connection or correct its id in the URI.") from error
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{uri}: no filesystem for {scheme}:// ({error}). Install the Airflow provider that brings it."
        ) from error
    try:
        yield filesystem, path.path
    except FileNotFoundError as error:
        raise no_such_file(uri) from error
    except PermissionError as error:
        raise DatasetError(f"{uri}: no permission. Grant the connection's user access.") from error


def _object_storage_path(uri: str) -> ObjectStoragePath:
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)


def children_of(uri: str) -> dict[str, bool] | None:
    """Names in a folder and whether each is a folder itself; ``None`` if the URI names a file."""
    with storage(uri) as (filesystem, path):
        # A listing cached by an earlier task of the same worker would show parts that are gone.
        filesystem.invalidate_cache()
        if filesystem.info(path)["type"] != "directory":
            return None
        listing = {str(child["name"]).strip("/"): child["type"] for child in filesystem.ls(path, detail=True)}
    listing.pop(path.strip("/"), None)  # some stores list the folder's own marker object as its child
    return {name.rsplit("/", 1)[-1]: kind == "directory" for name, kind in listing.items()}


def copy_to_local(uri: str, target: Path) -> bytes:
    """Copy one file to ``target`` and return the digest of its bytes, in one pass and flat memory."""
    digest = hashlib.blake2b(digest_size=32)
    with storage(uri) as (filesystem, path), filesystem.open(path, "rb") as source, target.open("wb") as copy:
        while block := source.read(_COPY_BYTES):
            digest.update(block)
            copy.write(block)
    return digest.digest()
