"""Imports whose replies are hostile, in a process of its own, which then reports how much memory they took."""

from __future__ import annotations

import sys

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings, TimestampFormat
from airflow_provider_capillary.client.wire import encode_batch
from airflow_provider_capillary.core.earned_badge import EarnedBadge
from airflow_provider_capillary.core.outcome import judge
from tests.memory.import_rows import peak_bytes

BADGE = "654e4d4b9f1b2c0001a2b3c4"


def main(api: str, rows: int, requests: int) -> None:
    """Import the same rows some times; print each verdict, and the bytes of memory that the worst one took."""
    badges = [EarnedBadge(row, BADGE, 10_000_000 + row, 1_736_942_400, 1_768_478_400) for row in range(1, rows + 1)]
    client = BadgeClient(ClientSettings(base_url=api, login="till", password="secret"))
    body = encode_batch(badges, TimestampFormat.EPOCH_SECONDS)
    before = peak_bytes()
    for _ in range(requests):
        verdict = judge(badges, client.import_badges(body, "a-request")).verdict
        sys.stdout.write(f"{verdict.name} {(peak_bytes() - before) >> 20}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
