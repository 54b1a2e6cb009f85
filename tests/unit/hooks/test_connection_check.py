from __future__ import annotations

import pytest

from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ClientSettings
from airflow_provider_capillary.hooks.connection_check import checked


class Broken(BadgeClient):
    def check(self) -> None:
        raise RuntimeError("a bug")


def test_an_unforeseen_error_reaches_the_caller() -> None:
    settings = ClientSettings(base_url="http://127.0.0.1:9", login="till.1", password="open-sesame")
    with pytest.raises(RuntimeError, match="a bug"):
        checked(Broken(settings))
