"""Starts the simulator from a command line."""

import sys

from airflow_provider_capillary.simulator.command_line import main

if __name__ == "__main__":
    sys.exit(main())
