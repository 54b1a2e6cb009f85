"""The limit of ``requests``: bodies encoded beforehand, replies read and not looked at."""

from __future__ import annotations

import sys

import requests

from bodies import encoded
from measuring import measured


def main(dataset: str, api: str, batch_size: int, _state: str) -> None:
    """Send the dataset."""
    bodies = encoded(dataset, batch_size)
    url = f"{api}/api_gateway/v1/badges/import/customerBadges"

    def work() -> int:
        green = 0
        with requests.Session() as session:
            for rows, body in bodies:
                session.put(url, data=body, timeout=60).raise_for_status()
                green += rows
        return green

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
