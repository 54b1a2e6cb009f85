"""Finds the call of the API for a method and a path."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote


class Route(NamedTuple):
    """One call of the API; fault plans select calls by their ``operation``."""

    operation: str
    methods: tuple[str, ...]
    template: str


IMPORT = "import"
TOKEN = "token"

_BADGES = "/api_gateway/v1/badges"

ROUTES = (
    Route(TOKEN, ("POST",), "/v3/oauth/token/generate"),
    Route(IMPORT, ("PUT", "POST"), f"{_BADGES}/import/customerBadges"),
    Route("badge_list", ("GET",), f"{_BADGES}/badgeMeta"),
    Route("badge", ("GET",), f"{_BADGES}/badgeMeta/{{badge_id}}"),
    Route("revoke", ("POST",), f"{_BADGES}/customer/revokeEarn"),
    Route("badges_of_customer", ("GET",), f"{_BADGES}/customer/{{customer_id}}"),
    Route("customer_badge_list", ("GET",), f"{_BADGES}/management/{{customer_id}}"),
    Route("customer_badge", ("GET",), f"{_BADGES}/management/{{customer_id}}/badge/{{badge_id}}"),
    Route("lookup", ("GET",), "/v2/customers/lookup"),
)
OPERATIONS = frozenset(route.operation for route in ROUTES)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))


def find_route(path: str) -> tuple[Route, dict[str, str]] | None:
    """The call and the parameters in its path, or ``None`` for a path that the API does not have."""
    for route in ROUTES:
        match = _pattern(route.template).fullmatch(path)
        if match is not None:
            return route, {name: unquote(value) for name, value in match.groupdict().items()}
    return None
