"""Which column of a dataset is which field."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_capillary.core.column_choice import FIELD_COLUMNS, Columns, column_choices, resolve_columns
from airflow_provider_capillary.exceptions import ConfigurationError, DatasetError

BADGE_ID = "654e08f2041fd452b3ef5b2e"


def test_api_and_snake_case_names_are_found() -> None:
    choices = column_choices(None)
    for names in zip(*FIELD_COLUMNS.values(), strict=False):
        assert resolve_columns(choices, names[::-1]) == Columns(*names)


def test_columns_of_iso_names_are_found_too() -> None:
    found = ["badge_meta_id", "customer_id", "earn_event_date_iso", "earnExpiresOnISO"]
    assert resolve_columns(column_choices(None), found) == Columns(*found)


LOOSE_NAMES = [
    ["BADGEMETAID", "Customer_Id", "EARN_EVENT_DATE", "earnexpireson"],
    ["Badge Meta Id", " customer_id ", "Earn Event Date", "EARN EXPIRES_ON"],
    ["badge__meta_id", "CUSTOMERID\t", "EARN_EVENT_DATE_ISO", "Earn Expires On ISO"],
]


@pytest.mark.parametrize("found", LOOSE_NAMES, ids=str)
def test_columns_are_found_in_any_case_and_spacing(found: list[str]) -> None:
    assert resolve_columns(column_choices(None), ["other", *found]) == Columns(*found)


def test_a_mapped_column_is_found_in_any_case() -> None:
    found = ["BADGE_ID", "CUSTOMER_ID", "EARN_EVENT_DATE", "EARN_EXPIRES_ON"]
    assert resolve_columns(column_choices({"badgeMetaId": "badge_id"}), found) == Columns(*found)


TWO_FOR_ONE = [
    ("customerId", ["customerId", "customer_id"]),
    ("customerId", ["CUSTOMER_ID", "customer_id"]),
    ("badgeMetaId", ["badge_meta_id", "Badge Meta Id"]),
    ("earnEventDate", ["earnEventDate", "earn_event_date"]),
    ("earnExpiresOn", ["earnExpiresOnISO", "earn_expires_on_iso"]),
]


@pytest.mark.parametrize(("field", "both"), TWO_FOR_ONE, ids=str)
def test_two_columns_for_a_field_need_a_mapping(field: str, both: list[str]) -> None:
    found = [name for name in FIELD_COLUMNS if name != field] + both
    with pytest.raises(DatasetError) as caught:
        resolve_columns(column_choices(None), found)
    assert all(repr(name) in str(caught.value) for name in (field, *both))
    assert "field_mapping=" in str(caught.value)
    for name in both:
        assert name in msgspec.structs.astuple(resolve_columns(column_choices({field: name}), found))


def test_two_columns_near_a_mapped_name_are_refused() -> None:
    found = ["BADGE", "Badge", "customerId", "earnEventDate", "earnExpiresOn"]
    with pytest.raises(DatasetError, match="'BADGE', 'Badge'"):
        resolve_columns(column_choices({"badgeMetaId": "badge"}), found)


def test_two_columns_of_an_instant_are_compared() -> None:
    found = ["badgeMetaId", "customerId", "earnEventDateISO", "earnEventDate", "earn_expires_on", "earnExpiresOnISO"]
    assert resolve_columns(column_choices(None), found) == Columns(
        "badgeMetaId", "customerId", "earnEventDate", "earn_expires_on", "earnEventDateISO", "earnExpiresOnISO"
    )
    mapped = resolve_columns(column_choices({"earnEventDate": "earnEventDateISO"}), found)
    assert (mapped.earned_at, mapped.earned_at_iso) == ("earnEventDateISO", None)


@pytest.mark.parametrize("field", ["badgeMetaId", "badge_meta_id"])
def test_a_mapped_field_uses_only_its_column(field: str) -> None:
    choices = column_choices({field: "trophy"})
    found = ["badgeMetaId", "customerId", "earnEventDate", "earnExpiresOn"]
    assert resolve_columns(choices, [*found, "trophy"]).badge_meta_id == "trophy"
    with pytest.raises(DatasetError, match=r"lacks column\(s\) trophy\."):
        resolve_columns(choices, found)


def test_an_unknown_mapped_field_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown field\(s\) badge, when; known: badgeMetaId, customerId"):
        column_choices({"when": "x", "badge": "y"})


def test_missing_columns_are_named_with_advice() -> None:
    with pytest.raises(DatasetError) as caught:
        resolve_columns(column_choices({"customerId": "who"}), ["badge_meta_id", "price"])
    message = str(caught.value)
    assert "who; earnEventDate or earn_event_date" in message
    assert "earnExpiresOn or" in message
    assert "Found: badge_meta_id, price" in message
    assert "field_mapping=" in message


def test_a_dataset_without_rows_needs_no_columns() -> None:
    columns = resolve_columns(column_choices({"customerId": "who"}), [])
    assert (columns.badge_meta_id, columns.customer_id) == ("badgeMetaId", "who")
