"""Which files a URI stands for: the file itself, what an extract has published in a folder, or a folder's files."""

from __future__ import annotations

import msgspec

from airflow_provider_capillary.datasets.folders import Folder, folder_at
from airflow_provider_capillary.datasets.locations import FORMATS, local_path
from airflow_provider_capillary.datasets.manifest import MANIFEST, Manifest, decoded, is_part
from airflow_provider_capillary.datasets.problems import listed
from airflow_provider_capillary.exceptions import DatasetError


class DatasetFiles(msgspec.Struct, frozen=True):
    """Files in the order in which they are read."""

    uris: list[str]
    rows: int | None = None  #: how many rows they must hold together, where their writer has left word


def files_at(uri: str) -> DatasetFiles:
    """The file itself, or the files of a folder sorted by name; hidden ones and those with ``_`` in front left out.

    Of a folder that an extract has written, the parts that its manifest names, and no others. A folder inside the
    folder is refused rather than skipped: its rows would silently not be imported.
    """
    path = local_path(uri)
    if path is not None and not path.exists() and uri.lower().endswith(tuple(FORMATS)):
        return DatasetFiles([uri])  # for the inspection, which names all missing files at once
    folder = folder_at(uri)
    children = folder.children()
    if children is None:
        return DatasetFiles([uri])
    if MANIFEST in children:
        return _published(uri, folder, children)
    if any(is_part(name) for name in children):
        raise DatasetError(
            f"{uri}: the folder is only partly written (parts, but no {MANIFEST}): the extract that writes it is "
            "still at work or was killed. Run that task again."
        )
    return DatasetFiles(_visible(uri, children))


def _published(uri: str, folder: Folder, children: dict[str, bool]) -> DatasetFiles:
    manifest: Manifest = decoded(folder.read(MANIFEST), uri)
    gone = [name for name in manifest.parts if name not in children]
    if gone:
        raise DatasetError(
            f"{uri}: parts are gone that {MANIFEST} names: {listed(gone)}. They were deleted, or another try of the "
            "extract is replacing them. Run the extract again."
        )
    return DatasetFiles([f"{uri.rstrip('/')}/{name}" for name in manifest.parts], manifest.rows)


def _visible(uri: str, children: dict[str, bool]) -> list[str]:
    visible = {name: is_folder for name, is_folder in children.items() if name and name[0] not in "._"}
    folders = sorted(name for name, is_folder in visible.items() if is_folder)
    if folders:
        raise DatasetError(f"{uri}: holds the folder {folders[0]!r}. Give the folders to read as a list of URIs.")
    if not visible:
        raise DatasetError(f"{uri}: the folder holds no files. Check the path and whether the task before has written.")
    return [f"{uri.rstrip('/')}/{name}" for name in sorted(visible)]
