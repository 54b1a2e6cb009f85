"""A stack without Airflow, in a process of its own: what happens when it is interrupted or killed?"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from dev.interrupts import one_interrupt
from dev.screen import Screen
from dev.stack.local_stack import LocalStack

if __name__ == "__main__":
    with one_interrupt(), LocalStack(Path(sys.argv[1]), [], Screen(Console()).step) as stack:
        with stack.postgres.connect("warehouse") as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS number")
        Path(sys.argv[2]).write_text("up")
        time.sleep(60)
