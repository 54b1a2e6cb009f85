"""What Airflow learns of this provider without importing anything of it: names and texts only."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_capillary"


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-capillary",
        "name": "Capillary",
        "description": "Imports loyalty badges into Capillary in bulk: never twice by our doing, none lost, undoable.",
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
                "python-modules": [f"{_PACKAGE}.operators.badge_import", f"{_PACKAGE}.operators.badge_error_report"],
            }
        ],
        "transfers": [
            {
                "source-integration-name": "Common SQL",
                "target-integration-name": "Capillary",
                "python-module": f"{_PACKAGE}.transfers.sql_to_badge_dataset",
            }
        ],
        "connection-types": [_connection_type()],
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
            },
            "placeholders": {
                "host": "https://eu.api.capillarytech.com",
                "schema": "https",
                "login": "till.001",
            },
        },
        "conn-fields": {**_identity_fields(), **_request_fields()},
    }


def _identity_fields() -> dict[str, Any]:
    return {
        "auth_type": _field(
            "Authentication",
            "basic: a till's id and password. oauth: the key and secret of an API client.",
            type="string",
            enum=["basic", "oauth"],
            default="basic",
        ),
        "password_is_md5": _field(
            "Password is already an MD5 hash",
            "Basic only. Leave off for the plain till password: it is hashed before it is sent.",
            # no default: Airflow would mask it for the field's name, and the form would save the mask
            type=["boolean", "null"],
        ),
        "organisation": _field(
            "Organisation",
            "The name that stands for this Capillary organisation in the ledger. Set it once and keep it when host "
            "or credentials change, or what was granted would be forgotten. Default: host and login.",
            type=["string", "null"],
        ),
        "attribution_entity_type": _field(
            "Attribution entity type",
            "OAuth only: act for a till or store other than the client's own.",
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
            "Attribution entity code", "OAuth only: the code of that till or store.", type=["string", "null"]
        ),
    }


def _request_fields() -> dict[str, Any]:
    return {
        "import_method": _field(
            "Import method",
            "The documentation names both. Never switched by itself.",
            type="string",
            enum=["PUT", "POST"],
            default="PUT",
        ),
        "timestamp_format": _field(
            "Timestamp format",
            "How instants are written. The API reads numbers as seconds, though its text says milliseconds.",
            type="string",
            enum=["epoch_seconds", "epoch_milliseconds", "iso_inline", "iso_fields"],
            default="epoch_seconds",
        ),
        "timeout": _field(
            "Timeout",
            "Seconds from the request until the last byte of its reply. Connecting has 10 seconds of its own.",
            type="number",
            minimum=1,
            maximum=3600,
            default=60,
        ),
        "requests_per_minute": _field(
            "Requests per minute",
            "Budget of this connection over all tasks that share the ledger. Empty: no limit.",
            type=["integer", "null"],
            minimum=1,
        ),
        "verify_ssl": _field(
            "Verify TLS certificates",
            "true, false, or the path of a CA bundle on the workers.",
            type="string",
            default="true",
        ),
        "allow_http": _field(
            "Allow http",
            "Sends credentials unencrypted to other machines. Loopback addresses need no permission.",
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
                "description": "Rows in one request where an operator does not say, 1 to 10000.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": "200",
                "default": "500",
            },
        },
    }
