"""What a test does without a program that it needs."""

from __future__ import annotations

import pytest

from tests.debian_programs import NEED_ALL, need


def test_a_missing_program_skips_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NEED_ALL, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed; Debian has it in a-package"):
        need("no-such-program", package="a-package")


def test_a_missing_program_fails_where_all_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NEED_ALL, "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        need("no-such-program", package="a-package")


def test_the_first_program_that_is_there_is_taken() -> None:
    assert need("no-such-program", "sh", package="a-package").endswith("/sh")
