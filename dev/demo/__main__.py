"""Runs the demo: ``python -m dev.demo``, or ``make demo``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from dev.demo.driver import Demo
from dev.interrupts import one_interrupt
from dev.screen import Screen

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return the exit code: 0 if all accounts agree, 1 if not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="where everything is kept (default: .demo)")
    folder = parser.parse_args(arguments).folder
    screen = Screen(Console())
    try:
        with one_interrupt():
            return Demo(folder, screen).run()
    except KeyboardInterrupt:
        screen.say("Stopped, with everything that it had started.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
