"""The limit of ``http.client``: bodies encoded beforehand, replies read and not looked at."""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

from bodies import encoded
from measuring import measured


def main(dataset: str, api: str, batch_size: int, _state: str) -> None:
    """Send the dataset."""
    bodies = encoded(dataset, batch_size)

    def work() -> int:
        connection = http.client.HTTPConnection(urlsplit(api).netloc, timeout=60)
        green = 0
        for rows, body in bodies:
            connection.request("PUT", "/api_gateway/v1/badges/import/customerBadges", body)
            reply = connection.getresponse()
            reply.read()
            green += rows if reply.status == 200 else 0
        return green

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
