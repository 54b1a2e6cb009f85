"""Stacks that several tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.processes import family
from dev.stack.local_stack import LocalStack
from tests.end_to_end.stacks import Up, stack_in


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a stack that is not there yet."""
    # Not under pytest's own folder: PostgreSQL of a root user runs as another one, who may not enter there.
    made = Path(tempfile.mkdtemp(prefix="capillary-up-"))
    yield made / "up"
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL and the simulator, without Airflow."""
    made = Path(tempfile.mkdtemp(prefix="capillary-up-"))
    with stack_in(made / "up")[0] as running:
        yield running
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    folder = Path(tempfile.mkdtemp(prefix="capillary-up-"))
    stack = Up(folder / "up")
    try:
        stack.wait_until_ready()
        yield stack
        started = stack.started()
        assert {one.name for one in started} >= {"postgres", "simulator", "api-server", "scheduler", "dag-processor"}
    finally:
        code = stack.interrupt()
    assert code == 0, stack.reported()
    assert [str(process) for one in started for process in family(one)] == []
    assert stack.started() == []
    shutil.rmtree(folder)
