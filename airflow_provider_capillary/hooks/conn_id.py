"""The connection that is used where no other is named; apart, so that a DAG file need not load the client for it."""

from __future__ import annotations

DEFAULT_CONN_ID = "capillary_default"
