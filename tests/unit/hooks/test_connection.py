from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_capillary.client.client_settings import AuthType, ClientSettings, ImportMethod, TimestampFormat
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks.connection import (
    KNOWN_EXTRAS,
    ConnectionFields,
    ConnectionSettings,
    connection_settings,
)

MD5 = "8a16a6b70505eb1f1ff7cdc0cd5559a7"


def settings(extra: dict[str, Any] | str | None = None, **fields: Any) -> ConnectionSettings:
    text = json.dumps(extra) if isinstance(extra, dict) else extra
    given = {"host": "eu.api.example.com", "login": "till.1", "password": "sesame", **fields}
    return connection_settings(ConnectionFields(conn_id="cap", extra=text, **given))


def refusal(extra: dict[str, Any] | str | None = None, **fields: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(extra, **fields)
    message = str(caught.value)
    assert message.startswith("connection 'cap': ")
    assert "sesame" not in message
    return message


def test_a_connection_needs_host_login_and_password_only() -> None:
    assert settings() == ConnectionSettings(
        ClientSettings(base_url="https://eu.api.example.com", login="till.1", password="sesame"),
        organisation="eu.api.example.com/till.1",
    )


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "https://eu.api.example.com"}, "https://eu.api.example.com"),
        ({"host": "HTTPS://EU.api.example.com/"}, "https://eu.api.example.com"),
        ({"host": "eu.api.example.com", "schema": "https", "port": 443}, "https://eu.api.example.com"),
        ({"host": "eu.api.example.com", "port": 8443}, "https://eu.api.example.com:8443"),
        ({"host": "https://gate.example.com:8443/capillary/eu/"}, "https://gate.example.com:8443/capillary/eu"),
        ({"host": "gate.example.com/capillary"}, "https://gate.example.com/capillary"),
        ({"host": "http://127.0.0.1", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "localhost:8080", "schema": "http"}, "http://localhost:8080"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080"),
    ],
)
def test_the_address_is_host_schema_and_port(fields: dict[str, Any], base_url: str) -> None:
    assert settings(**fields).client.base_url == base_url


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"host": None}, "host is missing"),
        ({"host": "  "}, "host is missing"),
        ({"host": "ftp://eu.api.example.com"}, "only https:// and http://"),
        ({"host": "https://user:pw@eu.api.example.com"}, "login and password"),
        ({"host": "https://eu.api.example.com?x=1"}, "no user, query or fragment"),
        ({"host": "https://"}, "not a valid host name"),
        ({"host": "https://[::1"}, "not a valid URL"),
        ({"host": "eu api.example.com"}, "not a valid host name"),
        ({"host": "https://eu.api.example.com:99999"}, "port in host"),
        ({"host": "eu.api.example.com:8443", "port": 443}, "port 443 contradicts"),
        ({"port": 70000}, "port 70000"),
        ({"schema": "badges"}, "schema is 'badges'"),
        ({"host": "https://eu.api.example.com", "schema": "http"}, "contradicts"),
        ({"login": None}, "login is missing; with auth_type basic it is the till id"),
        ({"password": ""}, "password is missing; with auth_type basic it is the till password"),
        ({"password": "***"}, "password is '***', which Airflow shows instead of a stored value; enter"),
        ({"login": "***"}, "login is '***'"),
        ({"login": "a:b"}, "colon"),
        ({"host": "http://eu.api.example.com"}, "allow_http"),
        ({"host": "http://127.0.0.1.example.com"}, "allow_http"),
    ],
)
def test_a_field_that_is_wrong_is_named(fields: dict[str, Any], named: str) -> None:
    assert named in refusal(**fields)


def test_http_elsewhere_needs_permission() -> None:
    assert settings({"allow_http": True}, host="http://sim.example").client.base_url == "http://sim.example"


def test_every_extra_is_taken() -> None:
    found = settings(
        {
            "auth_type": "oauth",
            "import_method": "POST",
            "timestamp_format": "iso_fields",
            "timeout": 12.5,
            "requests_per_minute": 90,
            "attribution_entity_type": "STORE_CODE",
            "attribution_entity_code": "s1",
            "organisation": "Acme EU",
            "verify_ssl": False,
            "password_is_md5": False,
            "allow_http": False,
        }
    )
    assert found == ConnectionSettings(
        ClientSettings(
            base_url="https://eu.api.example.com",
            login="till.1",
            password="sesame",
            auth_type=AuthType.OAUTH,
            import_method=ImportMethod.POST,
            timestamp_format=TimestampFormat.ISO_FIELDS,
            timeout=12.5,
            verify_ssl=False,
            attribution_entity_type="STORE_CODE",
            attribution_entity_code="s1",
        ),
        organisation="Acme EU",
        requests_per_minute=90,
    )


def test_text_from_a_connection_uri_means_the_same() -> None:
    found = settings({"timeout": "30", "requests_per_minute": "90", "verify_ssl": "False", "import_method": "post"})
    assert (found.client.timeout, found.requests_per_minute) == (30.0, 90)
    assert (found.client.verify_ssl, found.client.import_method) == (False, ImportMethod.POST)


@pytest.mark.parametrize("unset", [None, ""])
def test_what_the_form_leaves_empty_means_the_default(unset: str | None) -> None:
    assert settings(dict.fromkeys(KNOWN_EXTRAS, unset)) == settings()


@pytest.mark.parametrize("extra", [None, "", "  ", "{}"])
def test_no_extra_means_the_defaults(extra: str | None) -> None:
    assert settings(extra) == settings()


def test_an_unknown_extra_names_the_known() -> None:
    message = refusal({"import_metod": "POST"})
    assert "import_metod" in message
    assert all(name in message for name in KNOWN_EXTRAS)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ({"auth_type": "bearer"}, "'auth_type' is 'bearer'; known: basic, oauth"),
        ({"import_method": "PATCH"}, "'import_method'"),
        ({"timestamp_format": "iso"}, "known: epoch_seconds, epoch_milliseconds, iso_inline, iso_fields"),
        ({"timeout": 0}, "'timeout'"),
        ({"timeout": "NaN"}, "'timeout'"),
        ({"timeout": 4000}, "'timeout'"),
        ({"timeout": True}, "'timeout'"),
        ({"timeout": [1]}, "'timeout'"),
        ({"requests_per_minute": 0}, "'requests_per_minute'"),
        ({"requests_per_minute": 1.5}, "'requests_per_minute'"),
        ({"requests_per_minute": "inf"}, "'requests_per_minute'"),
        ({"verify_ssl": "/no/such/bundle.pem"}, "'verify_ssl'"),
        ({"verify_ssl": 7}, "'verify_ssl'"),
        ({"password_is_md5": "perhaps"}, "'password_is_md5'"),
        ({"password_is_md5": "***"}, "'password_is_md5' is '***', which Airflow shows"),
        ({"organisation": "***"}, "'organisation' is '***', which Airflow shows"),
        ({"password_is_md5": True}, "32 hexadecimal digits"),
        ({"organisation": " "}, "'organisation'"),
        ({"organisation": "a\nb"}, "'organisation'"),
        ({"organisation": 5}, "'organisation'"),
        ({"attribution_entity_code": "s1"}, "oauth only"),
        ({"auth_type": "oauth", "attribution_entity_type": "TILL"}, "needs 'attribution_entity_code'"),
        ({"auth_type": "oauth", "attribution_entity_type": "SHOP", "attribution_entity_code": "s"}, "STORE_NAME"),
        ({"auth_type": "oauth", "attribution_entity_code": "Münster"}, "no HTTP header can carry"),
    ],
)
def test_an_extra_that_is_wrong_is_named(extra: dict[str, Any] | str, named: str) -> None:
    assert named in refusal(extra)


def test_a_digest_is_taken_as_the_password() -> None:
    assert settings({"password_is_md5": True}, password=MD5).client.password_is_md5 is True


def test_a_ca_bundle_that_exists_is_taken(tmp_path: Any) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert settings({"verify_ssl": str(bundle)}).client.verify_ssl == str(bundle)


def test_fields_do_not_show_secrets() -> None:
    assert "sesame" not in repr(ConnectionFields(conn_id="cap", password="sesame", extra='{"x": "sesame"}'))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_passwords_line_end_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture, end: str) -> None:
    assert settings(password=f"sesame{end}", login=f"till.1{end}") == settings()
    [warned] = caplog.messages
    assert "line end" in warned
    assert "sesame" not in warned


def test_other_blanks_of_a_password_are_its_own(caplog: pytest.LogCaptureFixture) -> None:
    assert settings(password=" \n sesame ").client.password == " \n sesame "
    assert not caplog.messages


def test_a_password_of_line_ends_alone_is_none() -> None:
    assert "line end" in refusal(password="\n")
