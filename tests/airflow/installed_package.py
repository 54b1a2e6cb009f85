"""What a person has who installed the wheel and nothing else; run by the Python of that environment.

Writes one line of JSON. Knows nothing of the checkout, and of no package that only developers have.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import Any

DISTRIBUTION = "airflow-provider-capillary"
PACKAGE = "airflow_provider_capillary"
ONLY_WITH_ALEMBIC = f"{PACKAGE}.ledger.migrations.env"  # is no module: Alembic runs it


def main() -> None:
    """Report what is found."""
    warnings.filterwarnings("error", module=PACKAGE)
    package = importlib.import_module(PACKAGE)
    names = [each.name for each in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")]
    missing = {name: lack for name in names if (lack := _lack(name))}
    found = importlib.metadata.distribution(DISTRIBUTION)
    reported = {
        "file": package.__file__,
        "modules": len(names),
        "missing": missing,
        "entry_points": {f"{each.group}:{each.name}": _loads(each) for each in found.entry_points},
        "samples": _samples(),
    }
    sys.stdout.write(json.dumps(reported) + "\n")


def _lack(name: str) -> str | None:
    """What a module needs and has not got; any other error ends the program."""
    if name == ONLY_WITH_ALEMBIC or name.endswith(".__main__"):
        return None
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name
    return None


def _loads(entry_point: importlib.metadata.EntryPoint) -> bool:
    try:
        entry_point.load()
    except ModuleNotFoundError as error:
        return error.name == "pytest" and entry_point.group == "pytest11"
    return True


def _samples() -> dict[str, Any] | None:
    """The sample DAGs as Airflow itself finds them; ``None`` where it does not look into providers."""
    from airflow.dag_processing.bundles import manager
    from airflow.dag_processing.dagbag import DagBag

    if not hasattr(manager, "_add_provider_example_dags_to_bundle"):
        return None
    bundles: Any = manager.DagBundlesManager  # its constructor has no types
    bundle = bundles().get_bundle(f"{DISTRIBUTION}-example-dags")
    bag = DagBag(str(bundle.path))
    return {
        "folder": str(bundle.path),
        "dags": sorted(bag.dags),
        "import_errors": bag.import_errors,
        "files": sorted(path.name for path in Path(bundle.path).rglob("*") if path.is_file()),
    }


if __name__ == "__main__":
    main()
