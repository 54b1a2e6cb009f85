"""Runs the simulator as a process of its own: ``python -m airflow_provider_capillary.simulator``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from airflow_provider_capillary.simulator.fault_plan import read_plan
from airflow_provider_capillary.simulator.request_rows import Timestamps
from airflow_provider_capillary.simulator.server import RunningSimulator
from airflow_provider_capillary.simulator.simulator import Simulator
from airflow_provider_capillary.simulator.simulator_settings import (
    SimulatorSettings,
    read_catalogue,
    read_customers,
    read_reads,
)

_DEFAULTS = SimulatorSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to a parser. Credentials may also come from the environment."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    add("--port", type=int, default=0, help="0: a free one, which is printed")
    add("--port-file", type=Path, help="write the port there, once calls are answered")
    add("--faults", type=Path, metavar="FILE", help="fault plan, JSON")
    add("--badges", metavar="FILE|N", help='JSON list of ids or {"id", "name"}, or how many to make up')
    add("--customers", type=Path, metavar="FILE", help='JSON list like [{"id": 7, "mobile": "91..."}]; others unknown')
    add("--latency", type=float, default=0.0, metavar="MS", help="how long each call takes")
    add("--zone", default=_DEFAULTS.zone, help="time zone of the server, e.g. Asia/Kolkata")
    add("--methods", default="PUT", help="what the import answers to: PUT, POST or PUT,POST")
    add("--timestamps", choices=get_args(Timestamps), default=_DEFAULTS.timestamps, help="how instants are read")
    add("--unknown-badge", choices=("row", "call"), default="row", help="what code 1054 refuses")
    add("--refuse-repeated-request-ids", action="store_true", help="400 with code 809 for them")
    add("--no-earns-detail", action="store_true", help="read-backs have counts only")
    add("--reads", default="{}", metavar="JSON", help='how reads answer, e.g. {"show_imports": false}')
    add("--sink", action="store_true", help="count grants, do not keep them")
    add("--token-ttl", type=int, default=_DEFAULTS.token_ttl_seconds, metavar="SECONDS")
    for name in ("username", "password", "oauth_key", "oauth_secret"):
        variable = f"CAPILLARY_SIMULATOR_{name.upper()}"
        default = os.environ.get(variable) or getattr(_DEFAULTS, name)
        add(f"--{name.replace('_', '-')}", default=default, help=f"default: ${variable}, else the documented one")


def settings_of(arguments: argparse.Namespace) -> SimulatorSettings:
    """Settings from parsed options."""
    settings = SimulatorSettings(
        username=arguments.username,
        password=arguments.password,
        oauth_key=arguments.oauth_key,
        oauth_secret=arguments.oauth_secret,
        token_ttl_seconds=arguments.token_ttl,
        zone=arguments.zone,
        methods=tuple(arguments.methods.upper().split(",")),
        timestamps=arguments.timestamps,
        unknown_badge=arguments.unknown_badge,
        refuse_repeated_request_ids=arguments.refuse_repeated_request_ids,
        earns_detail=not arguments.no_earns_detail,
        reads=read_reads(arguments.reads),
        latency_ms=arguments.latency,
        keep_grants=not arguments.sink,
    )
    if arguments.badges:
        settings = replace(settings, badges=read_catalogue(arguments.badges))
    if arguments.customers:
        customers, identifiers = read_customers(arguments.customers)
        settings = replace(settings, customers=customers, identifiers=identifiers)
    return settings


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Prints one line, the URL, when calls are answered."""
    try:
        faults = read_plan(arguments.faults.read_bytes()) if arguments.faults else None
        simulator = Simulator(settings_of(arguments), faults)
        running = RunningSimulator(simulator, host=arguments.host, port=arguments.port)
    except (OSError, ValueError, LookupError) as error:
        sys.stderr.write(f"The simulator cannot start: {error}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if arguments.port_file:
        _write_whole(arguments.port_file, str(running.port))
    sys.stdout.write(f"Capillary simulator on {running.url}\n")
    sys.stdout.flush()
    stop.wait()
    running.stop()
    return 0


def _write_whole(path: Path, text: str) -> None:
    # A process that waits for the file must never read it half written.
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator from a command line."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_capillary.simulator", description=__doc__)
    add_arguments(parser)
    return serve(parser.parse_args(arguments))
