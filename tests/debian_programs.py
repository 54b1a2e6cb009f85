"""Programs that some tests need and that no Python package brings.

Without one its tests are skipped, and say which package to install. Where ``CAPILLARY_TESTS_NEED_ALL`` is set, as in
continuous integration, it is an error: a skip there would hide that nothing was tested.
"""

from __future__ import annotations

import os
import shutil

import pytest

NEED_ALL = "CAPILLARY_TESTS_NEED_ALL"
#: Where Debian puts servers; not on every user's path.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def need(*programs: str, package: str) -> str:
    """Give the path of the first of the programs that is there; skip the test where there is none."""
    found = next(filter(None, (shutil.which(program, path=PATH) for program in programs)), None)
    if found is not None:
        return found
    reason = f"{programs[0]} is not installed; Debian has it in {package}"
    if os.environ.get(NEED_ALL):
        pytest.fail(f"{reason}, and {NEED_ALL} is set")
    pytest.skip(reason)
