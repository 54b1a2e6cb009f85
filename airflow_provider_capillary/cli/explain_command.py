"""``airflow capillary explain``: the registry of reasons and errors, without the documentation's pages."""

from __future__ import annotations

from argparse import Namespace
from difflib import get_close_matches

from airflow_provider_capillary.cli import display
from airflow_provider_capillary.cli.commands import command
from airflow_provider_capillary.core.reasons import REGISTRY
from airflow_provider_capillary.exceptions import ConfigurationError


@command
def explain(args: Namespace) -> None:
    """Print what the names mean and what to do; without names, list them all."""
    wanted = [name.strip("[],") for name in args.names]
    unknown = [name for name in wanted if name not in REGISTRY]
    if unknown:
        near = get_close_matches(unknown[0], REGISTRY, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; airflow capillary explain lists all names"
        raise ConfigurationError(f"no reason or error is called {', '.join(unknown)}{hint}")
    if not wanted:
        display.print_rows([{"name": one.name, "title": one.title} for one in REGISTRY.values()], args.output)
        return
    for name in wanted:
        entry = REGISTRY[name]
        facts = {"name": entry.name, "title": entry.title, "meaning": entry.meaning, "what to do": entry.to_do}
        display.print_details(facts, args.output)
