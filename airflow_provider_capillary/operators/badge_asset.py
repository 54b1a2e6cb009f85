"""The asset ``capillary://host/badges``: the badges that the customers of one cluster hold.

Airflow finds these functions by the provider's metadata, whenever it meets a URI of the scheme ``capillary``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset

SCHEME = "capillary"
NAME = "badges"


def badge_asset_uri(api_url: str) -> str:
    """The asset's URI, by the URL of the API: host and port, without credentials and path."""
    host = urlsplit(api_url).netloc.rpartition("@")[2].lower()
    if not host:
        raise ValueError("the URL names no host")
    return f"{SCHEME}://{host}/{NAME}"


def create_asset(*, host: str, extra: dict[str, Any] | None = None) -> Asset:
    """The asset of a host, as hook-level lineage asks for it."""
    return Asset(uri=f"{SCHEME}://{host}/{NAME}", extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Refuse a URI without a host; nothing else is asked of it, for people name their assets as they like."""
    if not uri.netloc:
        raise ValueError(
            "URI format capillary:// must contain a host, as in capillary://eu.api.capillarytech.com/badges"
        )
    return uri


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """The same dataset that the import itself tells of."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{parts.netloc}", name=parts.path.strip("/") or NAME)
