"""Names the files that a task read and wrote as Airflow's assets and OpenLineage do, and reports them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.hooks.errors import errors_logged

if TYPE_CHECKING:
    from airflow.sdk import BaseHook

#: If there are more files, their folders are reported instead, because an event has to be small.
MOST_FILES = 100
_SAME_STORE = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


@errors_logged
def collect_lineage(hook: BaseHook, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """Report URIs to Airflow's hook-level lineage; nothing happens if no plugin reads it."""
    from airflow.sdk.lineage import get_hook_lineage_collector
    from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins

    if not get_hook_lineage_readers_plugins():
        return  # the collector would first load all providers that have assets, in vain
    collector = get_hook_lineage_collector()
    for uri in few(inputs):
        collector.add_input_asset(context=hook, uri=asset_uri(uri))
    for uri in few(outputs):
        collector.add_output_asset(context=hook, uri=asset_uri(uri))


def uris_of(dataset: Any) -> tuple[str, ...]:
    """The URIs that a ``dataset`` argument names. A lazy XCom sequence gives none, because it had to be fetched."""
    if isinstance(dataset, str):
        return (dataset,) if dataset.strip() not in ("", "None") else ()
    if isinstance(dataset, Mapping):
        parts = dataset.get("parts")
        return uris_of(list(parts)) if isinstance(parts, (list, tuple)) else uris_of(dataset.get("uri"))
    if isinstance(dataset, (list, tuple)):
        named = [one for one in dataset if isinstance(one, str) or (isinstance(one, Mapping) and "uri" in one)]
        return tuple(uri for one in named for uri in uris_of(one))
    return ()


def few(uris: Iterable[str]) -> list[str]:
    """The URIs, each once; if there are too many, their folders, and at most ``MOST_FILES`` of these."""
    once = list(dict.fromkeys(uri for uri in uris if "/" in uri))
    if len(once) > MOST_FILES:
        once = list(dict.fromkeys(uri.rpartition("/")[0] for uri in once))
    return once[:MOST_FILES]


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name by OpenLineage's conventions: ``file`` and the path, ``s3://bucket`` and the key."""
    path = local_path(uri)
    if path is not None:
        return "file", str(path)
    scheme, store, key = _parts(uri)
    return f"{scheme}://{store}", key or "/"


def asset_uri(uri: str) -> str:
    """The URI as an asset has it: without the connection id that Airflow allows before the bucket."""
    path = local_path(uri)
    if path is not None:
        return f"file://{path}"
    scheme, store, key = _parts(uri)
    return f"{scheme}://{store}/{key}"


def _parts(uri: str) -> tuple[str, str, str]:
    scheme, _, rest = uri.partition("://")
    store, _, key = rest.partition("/")
    return _SAME_STORE.get(scheme.lower(), scheme.lower()), store.rpartition("@")[2], key.strip("/")
