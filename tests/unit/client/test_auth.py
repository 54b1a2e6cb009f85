from __future__ import annotations

import pytest

from airflow_provider_capillary.client.auth import (
    ATTRIBUTION_CODE_HEADER,
    ATTRIBUTION_TYPE_HEADER,
    TOKEN_HEADER,
    BasicAuth,
    OAuthAuth,
    attribution_headers,
    md5_hex,
)
from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings
from airflow_provider_capillary.client.wire_reads import AccessToken
from airflow_provider_capillary.exceptions import ApiUnavailableError

DOCUMENTED = "Basic c3RvcmUuc2VydmVyOjhhMTZhNmI3MDUwNWViMWYxZmY3Y2RjMGNkNTU1OWE3"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class TokenSource:
    """Counts the tokens it gives, and can be made to fail."""

    def __init__(self, lifetime: float = 300.0) -> None:
        self.given = 0
        self.lifetime = lifetime
        self.fails = False

    def __call__(self) -> AccessToken:
        if self.fails:
            raise ApiUnavailableError("no token service")
        self.given += 1
        return AccessToken(f"token-{self.given}", self.lifetime)


def oauth(source: TokenSource, clock: Clock | None = None) -> OAuthAuth:
    return OAuthAuth(source, client_secret="s3cret", clock=clock or Clock())


def test_the_documented_header_is_made_exactly() -> None:
    assert BasicAuth("store.server", "server123").headers() == {"Authorization": DOCUMENTED}


def test_a_digest_is_not_hashed_again() -> None:
    digest = md5_hex("server123").upper()
    assert BasicAuth("store.server", digest, password_is_md5=True).headers() == {"Authorization": DOCUMENTED}


def test_basic_has_nothing_to_renew() -> None:
    basic = BasicAuth("a", "b")
    assert basic.renew(basic.headers()) is False


def test_every_form_of_the_password_is_secret() -> None:
    secrets = BasicAuth("store.server", "server123").secrets
    assert set(secrets) == {"server123", "8a16a6b70505eb1f1ff7cdc0cd5559a7", DOCUMENTED.removeprefix("Basic ")}


@pytest.mark.parametrize(("lifetime", "still_good", "renewed"), [(300, 269, 271), (3600, 3569, 3571), (10, 8.9, 9.1)])
def test_a_token_is_used_until_shortly_before_expiry(lifetime: float, still_good: float, renewed: float) -> None:
    clock, source = Clock(), TokenSource(lifetime)
    auth = oauth(source, clock)
    assert auth.headers() == {TOKEN_HEADER: "token-1"}
    clock.seconds = 1000 + still_good
    assert auth.headers() == {TOKEN_HEADER: "token-1"}
    clock.seconds = 1000 + renewed
    assert auth.headers() == {TOKEN_HEADER: "token-2"}


def test_a_refused_token_is_not_used_and_stays_secret() -> None:
    source = TokenSource()
    auth = oauth(source)
    stale = auth.headers()
    source.fails = True
    with pytest.raises(ApiUnavailableError):
        auth.renew(stale)
    with pytest.raises(ApiUnavailableError):
        auth.headers()
    assert auth.secrets == ("s3cret", "token-1")
    source.fails = False
    assert auth.headers() == {TOKEN_HEADER: "token-2"}


def test_every_token_is_announced_as_a_secret() -> None:
    reported: list[str] = []
    auth = OAuthAuth(TokenSource(), client_secret="s3cret", clock=Clock(), on_secret=reported.append)
    auth.renew(auth.headers())
    assert reported == ["token-1", "token-2"]
    assert auth.secrets == ("s3cret", "token-1", "token-2")


def test_attribution_defaults_to_a_till() -> None:
    settings = ClientSettings(
        base_url="https://x", login="k", password="s", auth_type=AuthType.OAUTH, attribution_entity_code="t1"
    )
    assert attribution_headers(settings) == {ATTRIBUTION_TYPE_HEADER: "TILL", ATTRIBUTION_CODE_HEADER: "t1"}


def test_settings_do_not_show_the_caller() -> None:
    shown = repr(ClientSettings(base_url="https://x", login="till.1", password="sesame"))
    assert "sesame" not in shown
    assert "till.1" not in shown
