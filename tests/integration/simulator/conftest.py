"""A caller with the till's credentials, for each simulator a test starts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from airflow_provider_capillary.simulator.server import RunningSimulator


class ApiSession(requests.Session):
    """Takes paths instead of whole URLs."""

    def __init__(self, simulator: RunningSimulator) -> None:
        super().__init__()
        self.trust_env = False  # a .netrc or a proxy of the machine has no say here
        self._url = simulator.url
        password_md5 = hashlib.md5(simulator.settings.password.encode(), usedforsecurity=False).hexdigest()
        self.auth = (simulator.settings.username, password_md5)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 20)
        return super().request(method, f"{self._url}{url!s}", *args, **kwargs)


@pytest.fixture
def api_of() -> Iterator[Callable[[RunningSimulator], requests.Session]]:
    with contextlib.ExitStack() as stack:
        yield lambda simulator: stack.enter_context(ApiSession(simulator))


@pytest.fixture
def api(
    capillary_simulator: RunningSimulator, api_of: Callable[[RunningSimulator], requests.Session]
) -> requests.Session:
    return api_of(capillary_simulator)
