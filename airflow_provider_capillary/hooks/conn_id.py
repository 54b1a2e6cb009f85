"""The default connection id. It is in a module of its own so that a DAG file need not load the client for it."""

from __future__ import annotations

DEFAULT_CONN_ID = "capillary_default"
