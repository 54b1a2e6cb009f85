"""An S3 server on loopback with one folder of many small CSV files; prints its port and serves until stopped."""

from __future__ import annotations

import logging
import sys

from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

HEADER = "badge_meta_id,customer_id,earn_event_date,earn_expires_on\n"
BADGE = "654e08f2041fd452b3ef5b2e"


def main(files: str) -> None:
    """Fill the folder past HTTP, then serve it."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    storage = s3_backends["123456789012"]["aws"]
    storage.create_bucket("lake", "us-east-1")
    for number in range(1, int(files) + 1):
        row = f"{BADGE},{number},2025-01-31T09:00:00Z,2026-01-31T09:00:00Z\n"
        storage.put_object("lake", f"in/part-{number:05d}.csv", (HEADER + row).encode())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    sys.stdout.write(f"{server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
