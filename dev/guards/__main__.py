"""``python -m dev.guards``: switch each guard off in a copy, and see that a test fails. A few minutes."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .switches import GUARDS, Guard

_ROOT = Path(__file__).parents[2]


def main() -> int:
    """Try every guard; 1 where the tests do not notice that it is off."""
    parser = argparse.ArgumentParser(prog="python -m dev.guards", description=__doc__)
    parser.add_argument("--only", default="", help="the guards whose name holds this")
    only = parser.parse_args().only
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        for name in ("airflow_provider_capillary", "dev", "tests", "pyproject.toml"):
            source = _ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder)
        for guard in (guard for guard in GUARDS if only in guard.name):
            failed = _failed_without(guard, Path(folder))
            unnoticed += not failed
            sys.stdout.write(f"{'noticed' if failed else 'NOT NOTICED'}  {guard.name}\n")
            sys.stdout.writelines(f"         {test}\n" for test in failed[:2])
            sys.stdout.flush()
    return 1 if unnoticed else 0


def _failed_without(guard: Guard, root: Path) -> list[str]:
    before = {path: (root / path).read_text() for path, _, _ in guard.edits}
    try:
        for path, old, new in guard.edits:
            (root / path).write_text(guard.switched_off((root / path).read_text(), old, new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-p", "no:cacheprovider", "--tb=no"]
        done = subprocess.run([*command, *guard.tests], cwd=root, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        return [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]
    finally:
        for path, text in before.items():
            (root / path).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
