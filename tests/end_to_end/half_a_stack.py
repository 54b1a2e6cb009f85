"""A stack without Airflow, in a process of its own: what happens when it is interrupted or killed?"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from airflow_provider_capillary.demo.local_stack import LocalStack
from airflow_provider_capillary.demo.processes import one_interrupt
from airflow_provider_capillary.demo.screen import Screen

if __name__ == "__main__":
    with one_interrupt(), LocalStack(Path(sys.argv[1]), [], Screen(Console()).step) as stack:
        with stack.postgres.connect("warehouse") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS number")
        Path(sys.argv[2]).write_text("up")
        time.sleep(60)
