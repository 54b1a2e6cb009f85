"""Which files a URI stands for: a file, what an extract has published, a folder with all below it, or a pattern.

A folder of a table format is refused: a log beside its files says which of them still count. Read as plain files they
would give rows that the table no longer has, and badges would be granted for these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from urllib.parse import unquote

import msgspec

from airflow_provider_capillary.datasets.formats import FORMATS, format_by_name
from airflow_provider_capillary.datasets.inspection import listed
from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.datasets.manifest import MANIFEST, Manifest, decoded, is_part, is_unfinished
from airflow_provider_capillary.datasets.storage import Folder, matching
from airflow_provider_capillary.exceptions import CapillaryError, DatasetError

_WILDCARDS = re.compile(r"[*?\[]")
_DEEPEST = 30
_MOST_ANCESTORS = 4
_REMOTE_ANCESTORS = 2  # each is a request or two
_HIVE_ACID = re.compile(r"(base_\d+|delta_\d+_\d+(_\d+)?|delete_delta_\d+_\d+(_\d+)?)")
_PAIMON = {"snapshot", "manifest", "schema"}
#: Written beside data by other tools: manifests and schemas, checksums, markers of folders.
_SIDECAR = re.compile(r"(_?manifest|.*\.(metadata|crc|md5|sha256|manifest)|.*_\$folder\$)", re.IGNORECASE)

#: Names in a folder and whether each is a folder itself; ``None`` where it cannot be listed.
_Listing = Callable[[str], Mapping[str, bool] | None]


class DatasetFiles(msgspec.Struct, frozen=True):
    """Files in the order in which they are read."""

    uris: list[str]
    rows: int | None = None  #: how many rows they must hold together, where their writer has left word
    left_out: tuple[str, ...] = ()  #: files beside them that are no data


class FileFinder:
    """Finds the files of URIs, and remembers folders that it has listed."""

    def __init__(self) -> None:
        self._listed: dict[str, Mapping[str, bool] | None] = {}

    def files_at(self, uri: str) -> DatasetFiles:
        """The files that a URI or path stands for.

        Of a folder, all files in it and below it, by name; hidden ones and those with ``_`` in front are left out. Of
        a folder that an extract has written, the parts that its manifest names, and no others.

        :raises DatasetError: there is nothing, or a table whose files are not to be read one by one.
        """
        uri = _as_it_lies(uri)
        path = local_path(uri)
        if path is not None and not path.exists() and uri.lower().endswith(tuple(FORMATS)) and not _is_pattern(uri):
            return DatasetFiles([uri])  # for the inspection, which names all missing files at once
        folder = Folder(uri)
        try:
            children = folder.children()
        except DatasetError:
            if not _is_pattern(uri):
                raise
            return self._matching(uri)
        self._must_be_outside_tables(uri)
        if children is None:
            return DatasetFiles([uri])
        return _without_sidecars(self._below(uri.rstrip("/"), folder, children))

    def _below(self, uri: str, folder: Folder, children: Mapping[str, bool], depth: int = 0) -> DatasetFiles:
        if depth > _DEEPEST:
            raise DatasetError(f"{uri}: folders within folders, {depth} deep: a link may lead back. Name the files.")
        table = _table_in(uri, children, self._listing)
        if table:
            raise _table_error(uri, uri, table)
        if MANIFEST in children:
            return _published(uri, folder, children)
        if any(is_part(name) or is_unfinished(name) for name in children):
            raise DatasetError(
                f"{uri}: the folder is only partly written (parts, but no {MANIFEST}): the extract that writes it is "
                "still at work or was killed. Run that task again."
            )
        files: list[str] = []
        for name in sorted(children):
            if not name or name[0] in "._":
                continue
            child = f"{uri}/{name}"
            if children[name]:
                inner = Folder(child)
                files += self._below(child, inner, inner.children() or {}, depth + 1).uris
            else:
                files.append(child)
        return DatasetFiles(files)

    def _matching(self, uri: str) -> DatasetFiles:
        found = matching(uri)
        if not found:
            raise DatasetError(
                f"{uri}: no such file, and none with a name of this pattern. Check it, and whether the task before "
                "has written it."
            )
        files = [one for one in found if one.rstrip("/").rsplit("/", 1)[-1][:1] not in ("", ".", "_")]
        return _without_sidecars(DatasetFiles([file for one in files for file in self.files_at(one).uris]))

    def _must_be_outside_tables(self, uri: str) -> None:
        if is_part(uri.rsplit("/", 1)[-1]):
            return  # an extract writes to a folder of its own
        above = _ancestors(uri)
        for folder in above if local_path(uri) is not None else above[:_REMOTE_ANCESTORS]:
            table = _table_in(folder, self._listing(folder) or {}, self._listing)
            if table:
                raise _table_error(uri, folder, table)

    def _listing(self, folder: str) -> Mapping[str, bool] | None:
        if folder not in self._listed:
            self._listed[folder] = None
            with suppress(CapillaryError, OSError):  # who may read a file need not be allowed to list its folder
                self._listed[folder] = Folder(folder).children()
        return self._listed[folder]


def _as_it_lies(uri: str) -> str:
    """The URI of a local file as its name is: ``Path.as_uri()`` writes a blank as ``%20``, Airflow does not."""
    path = local_path(uri)
    if path is None or "://" not in uri or path.exists():
        return uri
    plain = unquote(uri)
    unquoted = local_path(plain)
    return plain if unquoted is not None and unquoted.exists() else uri


def _is_pattern(uri: str) -> bool:
    return _WILDCARDS.search(uri.partition("://")[2] or uri) is not None


def _published(uri: str, folder: Folder, children: Mapping[str, bool]) -> DatasetFiles:
    manifest: Manifest = decoded(folder.read(MANIFEST), uri)
    gone = [name for name in manifest.parts if name not in children]
    if gone:
        raise DatasetError(
            f"{uri}: parts are gone that {MANIFEST} names: {listed(gone)}. They were deleted, or another try of the "
            "extract is replacing them. Run the extract again."
        )
    return DatasetFiles([f"{uri.rstrip('/')}/{name}" for name in manifest.parts], manifest.rows)


def _without_sidecars(found: DatasetFiles) -> DatasetFiles:
    """Leave out what other tools write beside data, where there is data of one format."""
    sidecars = [uri for uri in found.uris if _SIDECAR.fullmatch(uri.rsplit("/", 1)[-1])]
    data = [uri for uri in found.uris if uri not in set(sidecars)]
    if not sidecars or not data or len({format_by_name(uri) for uri in data}) > 1:
        return found
    return DatasetFiles(data, found.rows, tuple(sidecars))


def _table_in(folder: str, children: Mapping[str, bool], listing: _Listing) -> str | None:
    """What sort of table a folder is, or ``None``."""
    if "_delta_log" in children:
        return "Delta Lake"
    if ".hoodie" in children:
        return "Apache Hudi"
    folders = {name for name, is_folder in children.items() if is_folder}
    if "metadata" in folders and any(map(_is_iceberg, listing(f"{folder}/metadata") or ())):
        return "Apache Iceberg"
    if folders >= _PAIMON:
        return "Apache Paimon"
    return "Hive ACID" if any(map(_HIVE_ACID.fullmatch, folders)) else None


def _ancestors(uri: str) -> list[str]:
    """The folders above a URI in which a table may begin, the nearest first."""
    start, mark, rest = uri.rstrip("/").partition("://")
    path = PurePosixPath(rest if mark else start)
    above = [str(parent) for parent in path.parents if str(parent) not in (".", "/")]
    return [f"{start}{mark}{parent}" if mark else parent for parent in above[:_MOST_ANCESTORS]]


def _table_error(uri: str, folder: str, table: str) -> DatasetError:
    """The error for files of a table."""
    place = "is" if uri.rstrip("/") == folder else f"lies in {folder}, which is"
    return DatasetError(
        f"{uri}: {place} a table of {table}. Which of its files count is in its log, so reading them as files would "
        "import rows that the table no longer has. Read the table by SQL: SqlToBadgeDatasetOperator, with a connection "
        "to an engine that knows it (Trino, Spark, Databricks, Snowflake, Athena, DuckDB)."
    )


def _is_iceberg(name: str) -> bool:
    return name.endswith((".metadata.json", ".metadata.json.gz")) or name == "version-hint.text"
