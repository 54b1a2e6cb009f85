"""``python -m dev.many_workers.timed_simulator TIMES ...``: the simulator, which also notes when each call came."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from airflow_provider_capillary.simulator import command_line
from airflow_provider_capillary.simulator.simulator import Arrival, Simulator


class TimedSimulator(Simulator):
    """Writes a line for each call to the API as it arrives: epoch seconds and operation."""

    times: TextIO

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._writing = threading.Lock()
        super().__init__(*args, **settings)

    def arrive(self, method: str, path: str, size: int) -> Arrival:
        """Note when a call came, then treat it as the simulator does."""
        arrival = super().arrive(method, path, size)
        with self._writing:
            self.times.write(f"{time.time():.6f} {arrival.call.operation}\n")
        return arrival


def read_times(file: Path) -> list[tuple[float, str]]:
    """When which calls came, the oldest first."""
    lines = [line.split(maxsplit=1) for line in file.read_text("utf-8").splitlines()]
    return sorted((float(when), operation) for when, operation in lines)


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", encoding="utf-8", buffering=1) as opened:
        TimedSimulator.times = opened
        vars(command_line)["Simulator"] = TimedSimulator  # the command makes one of these
        sys.exit(command_line.main(sys.argv[2:]))
