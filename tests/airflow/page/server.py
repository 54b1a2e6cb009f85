"""An API server of Airflow with users of several roles; the first line written is JSON: its URL and their tokens.

Each line read is JSON of environment variables to set, for example of another ledger; ``{}`` is the answer.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any, TextIO
from urllib.parse import urlsplit

OPEN_DAG = "shop_open"
#: What the restricted role may do, with the Dag ``shop_open`` alone.
RESTRICTED = (
    ("can_read", f"DAG:{OPEN_DAG}"),
    ("can_edit", f"DAG:{OPEN_DAG}"),
    ("can_read", "DAG Runs"),
    ("can_edit", "DAG Runs"),
    ("can_read", "Task Logs"),
    ("can_read", "Task Instances"),
    ("can_edit", "Task Instances"),
)


def main() -> None:
    """Serve until there is nothing more to read."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to both
    _answer(replies, _serve())
    for line in sys.stdin:
        os.environ.update(json.loads(line))
        _answer(replies, {})
    os._exit(0)  # the server has nothing to save, and takes seconds to stop


def _answer(replies: TextIO, reported: dict[str, Any]) -> None:
    replies.write(json.dumps(reported) + "\n")
    replies.flush()


def _serve() -> dict[str, Any]:
    import uvicorn
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.configuration import conf
    from airflow.utils.db import initdb

    initdb()
    app = create_app()
    manager: Any = get_auth_manager()
    tokens = _fab_tokens(manager) if "Fab" in type(manager).__name__ else _simple_tokens(manager)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    path = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return {
        "url": f"http://127.0.0.1:{listener.getsockname()[1]}{path}",
        "tokens": tokens,
    }


def _simple_tokens(manager: Any) -> dict[str, Any]:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    names = {"none": None, "viewer": "viewer", "user": "user", "op": "op", "admin": "admin"}
    users = {name: SimpleAuthManagerUser(username=f"{name}-kestrel", role=role) for name, role in names.items()}
    return {name: manager.generate_jwt(user) for name, user in users.items()}


def _fab_tokens(manager: Any) -> dict[str, Any]:
    from airflow.providers.fab.www.app import create_app

    roles = {
        "none": "Nothing",
        "viewer": "Viewer",
        "user": "User",
        "op": "Op",
        "admin": "Admin",
        "restricted": "Restricted",
    }
    with create_app(enable_plugins=False).app_context():
        security = manager.security_manager
        security.sync_roles()
        security.add_role("Nothing")
        restricted = security.add_role("Restricted")
        for action, resource in RESTRICTED:
            security.add_permission_to_role(restricted, security.create_permission(action, resource))
        users = {
            name: security.add_user(name, name, "Kestrel", f"{name}@example.com", security.find_role(role), "secret")
            for name, role in roles.items()
        }
        return {name: manager.generate_jwt(user) for name, user in users.items()}


if __name__ == "__main__":
    main()
