"""Images that stand in for the official ones where none can be pulled: Debian from ``debootstrap``, and wheels."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .commands import CommandFailedError, run, say

ROOT = Path(__file__).parents[2]
IMAGES = Path(__file__).parent / "images"
BASE = "capillary-compose/debian"
DEBIAN_PACKAGES = "ca-certificates,curl,postgresql,procps,python3,python3-pip,python3-venv,redis-server"
#: What the stand-in for Airflow's image holds, and what building our wheel in it needs.
REQUIREMENTS = (
    "apache-airflow",
    "apache-airflow-providers-celery",
    "apache-airflow-providers-fab",
    "apache-airflow-providers-postgres",
    "apache-airflow-providers-smtp",
    "async-timeout",  # redis wants it below Python 3.11.3, and Debian's is 3.11.2
    "hatchling",
    "msgspec",
    "psycopg[binary]",
    "pyarrow",
    "redis",
)


@contextmanager
def images_built_here(env: Mapping[str, str], *, keep: bool) -> Iterator[None]:
    """Remove the images that were built meanwhile from an engine that outlives us.

    :param keep: let them be, for the next time
    """
    before = _images(env)
    try:
        yield
    finally:
        new = [] if keep else [image for image in _images(env) if image not in before]
        if new:
            run(["docker", "rmi", "--force", *new], env=env)


def _images(env: Mapping[str, str]) -> list[str]:
    """The newest first: what is built upon another one has to go before it."""
    listed = run(["docker", "images", "--quiet", "--no-trunc"], env=env).split()
    return list(dict.fromkeys(listed))


def stand_ins(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Build them, and return the variables that name them to ``docker-compose.yaml``."""
    _debian(folder, env)
    _wheels(folder / "airflow" / "wheels")
    for name in ("postgres", "redis", "airflow"):
        say(f"building the image that stands in for {name}")
        shutil.copytree(IMAGES / name, folder / name, dirs_exist_ok=True)
        run(["docker", "build", "--tag", f"capillary-compose/{name}", str(folder / name)], env=env)
    return {f"{name.upper()}_IMAGE": f"capillary-compose/{name}" for name in ("postgres", "redis", "airflow")}


def _debian(folder: Path, env: Mapping[str, str]) -> None:
    if _is_there(BASE, env):
        return
    root, archive = folder / "debian", folder / "debian.tar"
    say("building Debian with debootstrap (a minute or two)")
    shutil.rmtree(root, ignore_errors=True)
    run(["debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", "bookworm", str(root)])
    run(["tar", "--numeric-owner", "-C", str(root), "-cf", str(archive), "."])
    shutil.rmtree(root)
    run(["docker", "import", str(archive), BASE], env=env)
    archive.unlink()


def _wheels(folder: Path) -> None:
    constraints = ROOT / "constraints.txt"
    kept = folder / "constraints.txt"
    if kept.exists() and kept.read_bytes() == constraints.read_bytes():
        return
    say("fetching wheels (a minute or two)")
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), "--constraint", str(constraints)]
    # Debian 12 has Python 3.11; this process may be another one
    run([*pip, "--python-version", "3.11", "--only-binary", ":all:", *REQUIREMENTS])
    shutil.copy(constraints, kept)


def _is_there(image: str, env: Mapping[str, str]) -> bool:
    try:
        run(["docker", "image", "inspect", image], env=env)
    except CommandFailedError:
        return False
    return True
