"""Describes this provider to Airflow: its classes, the connection form, its configuration. It imports none of them."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_capillary"


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-capillary",
        "name": "Capillary",
        "description": "Imports loyalty badges into Capillary in bulk: it grants none twice, loses none, and can undo.",
        "integrations": [
            {
                "integration-name": "Capillary",
                "external-doc-url": "https://docs.capillarytech.com/reference/import-earned-badges-of-customer",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": "Capillary", "python-modules": [f"{_PACKAGE}.hooks.capillary"]}],
        "operators": [
            {
                "integration-name": "Capillary",
                "python-modules": [
                    f"{_PACKAGE}.operators.{name}"
                    for name in ("badge_import", "badge_error_report", "badge_reconcile", "badge_revoke", "badge_seed")
                ],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "Capillary",
                "python-module": f"{_PACKAGE}.transfers.sql_to_badge_dataset",
            }
        ],
        "task-decorators": [
            {"name": "capillary_badge_import", "class-name": f"{_PACKAGE}.decorators.badge_import.badge_import_task"}
        ],
        "connection-types": [_connection_type()],
        "extra-links": [
            f"{_PACKAGE}.operators.report_link.BadgeImportLink",
            f"{_PACKAGE}.operators.report_link.BadgeReportLink",
        ],
        "asset-uris": [
            {
                "schemes": ["capillary"],
                "handler": f"{_PACKAGE}.operators.telemetry.assets.sanitize_uri",
                "factory": f"{_PACKAGE}.operators.telemetry.assets.create_asset",
                "to_openlineage_converter": f"{_PACKAGE}.operators.telemetry.assets.convert_asset_to_openlineage",
            }
        ],
        "cli": [f"{_PACKAGE}.cli.definition.get_capillary_cli_commands"],
        "config": {"capillary": _config()},
    }


def _connection_type() -> dict[str, Any]:
    return {
        "connection-type": "capillary",
        "hook-class-name": f"{_PACKAGE}.hooks.capillary.CapillaryBadgeHook",
        "hook-name": "Capillary",
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {
                "host": "Cluster URL",
                "login": "Till id (Basic) or client key (OAuth)",
                "password": "Till password (Basic) or client secret (OAuth)",
                "port": "Port (443 for https; Test needs it)",
                "schema": "Scheme, if the URL has none",
            },
            "placeholders": {
                "host": "https://eu.api.capillarytech.com",
                "port": "443",
                "schema": "https",
                "login": "till.001",
            },
        },
        # In the order of the form. Each section is a part of it that can be unfolded.
        "conn-fields": {
            **_organisation_fields(),
            **_authentication_fields(),
            **_budget_fields(),
            **_request_fields(),
            **_attribution_fields(),
        },
    }


def _organisation_fields() -> dict[str, Any]:
    return {
        "organisation": _field(
            "Organisation",
            "The name of this Capillary organisation in the ledger. Set it once and keep it when host or credentials "
            "change. A name that the ledger does not know is refused, because everything would be granted again under "
            "it. Empty: host, path and login.",
            section="Organisation",
            type=["string", "null"],
            maxLength=200,
        ),
    }


def _authentication_fields() -> dict[str, Any]:
    section = "Authentication"
    return {
        "auth_type": _field(
            "Authentication",
            "Basic: a till's id and password. OAuth: the key and secret of an API client.",
            section=section,
            type="string",
            enum=["basic", "oauth"],
            values_display={"basic": "Basic (till)", "oauth": "OAuth (API client)"},
            default="basic",
        ),
        "password_is_md5": _field(
            "Password is already an MD5 hash",
            "Basic only. Leave off for the plain till password: it is hashed before it is sent.",
            section=section,
            # no default, because Airflow would mask it (its name has "password"), and the form would save the mask
            type=["boolean", "null"],
        ),
    }


def _budget_fields() -> dict[str, Any]:
    return {
        "requests_per_minute": _field(
            "Requests per minute",
            "Budget of the organisation, over all tasks that share the ledger. Empty: no limit.",
            section="Budget of requests",
            type=["integer", "null"],
            minimum=1,
            maximum=1_000_000,
        ),
    }


def _attribution_fields() -> dict[str, Any]:
    section = "On behalf of another till or store (OAuth only)"
    return {
        "attribution_entity_type": _field(
            "Attribution entity type",
            "The kind of the code below. Empty: a till.",
            section=section,
            type=["string", "null"],
            enum=[
                "TILL",
                "STORE_CODE",
                "STORE_NAME",
                "STORE_EXTERNAL_ID",
                "STORE_EXTERNAL_ID_1",
                "STORE_EXTERNAL_ID_2",
            ],
        ),
        "attribution_entity_code": _field(
            "Attribution entity code",
            "The till or store to act for. Empty: the client's own.",
            section=section,
            type=["string", "null"],
            maxLength=200,
        ),
    }


def _request_fields() -> dict[str, Any]:
    section = "Requests to Capillary (for experts)"
    return {
        "import_method": _field(
            "Import method",
            "The API's documentation names both. The provider never switches by itself.",
            section=section,
            type="string",
            enum=["PUT", "POST"],
            default="PUT",
        ),
        "timestamp_format": _field(
            "Timestamp format",
            "How instants are written. The API's samples have seconds, although its text says milliseconds.",
            section=section,
            type="string",
            enum=["epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields"],
            values_display={
                "epoch_seconds": "Epoch seconds",
                "epoch_milliseconds": "Epoch milliseconds",
                "iso_inline": "ISO 8601 text",
                "iso_fields": "ISO 8601 text beside epoch seconds",
            },
            default="epoch_seconds",
        ),
        "timeout": _field(
            "Timeout",
            "Seconds from the request until the last byte of its reply. Connecting has 10 seconds of its own.",
            section=section,
            type="number",
            minimum=1,
            maximum=3600,
            default=60,
        ),
        "verify_ssl": _field(
            "Verify TLS certificates",
            "true, false, or the path of a CA bundle on every machine that runs tasks or tests the connection.",
            section=section,
            type="string",
            examples=["true", "false"],
            default="true",
        ),
        "allow_http": _field(
            "Allow http",
            "Sends credentials unencrypted to other machines. Loopback addresses need no permission.",
            section=section,
            type="boolean",
            default=False,
        ),
    }


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema}


def _config() -> dict[str, Any]:
    return {
        "description": "Import of loyalty badges into Capillary.",
        "options": {
            "ledger_conn_id": {
                "description": (
                    "Connection of the database that holds the ledger. Without it the ledger is an SQLite file "
                    "under AIRFLOW_HOME, which serves one machine only."
                ),
                "version_added": "0.1.0",
                "type": "string",
                "example": "capillary_ledger",
                "default": None,
            },
            "report_path": {
                "description": "Folder of the error reports, on any object storage that Airflow knows.",
                "version_added": "0.1.0",
                "type": "string",
                "example": "s3://aws_default@reports/capillary",
                "default": None,
            },
            "default_batch_size": {
                "description": "Rows in one request if the operator has no batch_size, 1 to 10000.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": "200",
                "default": "500",
            },
        },
    }
