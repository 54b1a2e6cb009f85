"""What surrounds a life's process: how long connections take, what its clock shows, and a pause while a body leaves.

The places that are changed here lie below the code under test: the resolver's caller in urllib3, ``http.client``, and
``time.time``. They are changed in the forked process of one life only.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from typing import Any

import urllib3.util.connection

from .crash_points import CrashPoints

_connect = urllib3.util.connection.create_connection
_send = http.client.HTTPConnection.send
_wall_clock = time.time
FROM_THE_START = -1.0


def surround(connect_seconds: float, clock: Sequence[tuple[float, float]], points: CrashPoints) -> None:
    """Change this process for one life.

    :param connect_seconds: how long a name takes to resolve and a connection to be made; no timeout covers all of it.
    :param clock: steps of the wall clock: seconds since the first body of an import began to leave (below 0: from the
        start), and the offset from then on. The monotonic clock and the boot clock go on undisturbed, as they do where
        an operator or NTP sets the time.
    """
    first_body: list[float] = []
    if connect_seconds:

        def slowly(*args: Any, **kwargs: Any) -> Any:
            time.sleep(connect_seconds)
            return _connect(*args, **kwargs)

        urllib3.util.connection.create_connection = slowly
    if clock:

        def stepped() -> float:
            passed = time.monotonic() - first_body[0] if first_body else FROM_THE_START
            return _wall_clock() + next((offset for begins, offset in reversed(clock) if passed >= begins), 0.0)

        time.time = stepped

    def send(connection: http.client.HTTPConnection, data: Any) -> None:
        # an array of rows: the body of an import, after every check of the code under test
        if isinstance(data, bytes) and data.startswith(b"["):
            first_body.append(time.monotonic())
            points.around("body", lambda: _send(connection, data))
        else:
            _send(connection, data)

    http.client.HTTPConnection.send = send  # type: ignore[method-assign, assignment]
