"""Options of ``airflow capillary simulator``: those of ``simulator/command_line.py``, which is loaded only to serve.

A test compares the two.
"""

from __future__ import annotations

#: Options that take a value.
SIMULATOR_OPTIONS = {
    "--host": "address to listen on (default: loopback only)",
    "--port": "0: a free one, which is printed",
    "--port-file": "write the port there, once calls are answered",
    "--faults": "fault plan, JSON",
    "--badges": 'JSON list of ids or {"id", "name"}, or how many to make up',
    "--customers": 'JSON list like [{"id": 7, "mobile": "91..."}]; others unknown',
    "--latency": "how long each call takes, in milliseconds",
    "--zone": "time zone of the server, e.g. Asia/Kolkata",
    "--methods": "what the import answers to: PUT, POST or PUT,POST",
    "--timestamps": "how instants are read: epoch_seconds, epoch_milliseconds, iso_inline or iso_fields",
    "--unknown-badge": "what code 1054 refuses: row or call",
    "--reads": 'how reads answer, JSON, e.g. {"show_imports": false}',
    "--token-ttl": "lifetime of tokens in seconds",
    "--username": "default: $CAPILLARY_SIMULATOR_USERNAME, else the documented one",
    "--password": "default: $CAPILLARY_SIMULATOR_PASSWORD, else the documented one",
    "--oauth-key": "default: $CAPILLARY_SIMULATOR_OAUTH_KEY, else the documented one",
    "--oauth-secret": "default: $CAPILLARY_SIMULATOR_OAUTH_SECRET, else the documented one",
}
SIMULATOR_SWITCHES = {
    "--refuse-repeated-request-ids": "400 with code 809 for them",
    "--no-earns-detail": "read-backs have counts only",
    "--sink": "count grants, do not keep them",
}
