from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_capillary.core import general_text
from airflow_provider_capillary.core.general_text import LONGEST, general

QUICK = settings(max_examples=25, deadline=None)

HEX = "0123456789abcdef"
OBJECT_IDS = st.text(HEX, min_size=24, max_size=24) | st.text(HEX.upper(), min_size=24, max_size=24)
NAMES = st.text(string.ascii_letters + " äßñ中.,-", min_size=6, max_size=30)
ADDRESSES = st.from_regex(r"[a-z][a-z0-9.+_-]{2,12}@[a-z0-9-]{2,10}\.(com|co\.in)", fullmatch=True)


@QUICK
@given(st.integers(10_000, 2**63 - 1))
def test_a_customer_id_does_not_survive(customer: int) -> None:
    assert general(f"Customer {customer} is not found") == "Customer … is not found"
    assert general(f"customerId={customer}, row refused") == "customerId=…, row refused"


@QUICK
@given(OBJECT_IDS)
def test_an_object_id_does_not_survive(object_id: str) -> None:
    assert general(f"Badge {object_id} is not live") == "Badge … is not live"
    assert general(f"badgeMetaId={object_id}.") == "badgeMetaId=…."


@pytest.mark.parametrize("object_id", ["654e08f2041fd452b3ef5b2e", "f" * 24, "0" * 24, "ABCDEFABCDEFABCDEFABCDEF"])
@pytest.mark.parametrize("template", ["badge {} is unknown", "badge_{} is unknown", "({})", "{}: no such badge", "{}"])
def test_an_object_id_anywhere_does_not_survive(object_id: str, template: str) -> None:
    assert object_id not in general(template.format(object_id))


@pytest.mark.parametrize(
    "base",
    [
        "f93f710f169c8390c41ae095986c5a50",
        "d9e144be-2450-4300-892f-798f9bb68ce2",
        "abcdefab-cdef-4bcd-8bcd-abcdefabcdef",
    ],
)
def test_request_ids_leave_equal_texts(base: str) -> None:
    texts = {general(f"request {base}_{position} was refused") for position in (1, 2, 30)}
    assert len(texts) == 1
    assert not any(part in next(iter(texts)) for part in base.split("-"))


@QUICK
@given(st.uuids(), st.uuids())
def test_uuids_leave_equal_texts(one: object, other: object) -> None:
    assert general(f"request {one} was refused") == general(f"request {other} was refused")


@QUICK
@given(NAMES, st.sampled_from("'\""))
def test_a_quoted_value_does_not_survive(name: str, quote: str) -> None:
    assert general(f"Invalid value: {quote}{name}{quote} for the field") == "Invalid value: … for the field"


@QUICK
@given(st.text(max_size=30))
@example("'\" Gold Member")
@example("ends with a backslash\\")
def test_a_python_value_does_not_survive(value: str) -> None:
    assert general(f"column {value!r} cannot be read") == "column … cannot be read"


@pytest.mark.parametrize("reported", ["Customer doesn't have", "can't find", "it's not a", "customers' list lacks"])
def test_an_apostrophe_does_not_expose_a_value(reported: str) -> None:
    shown = general(f"{reported} badge 'Gold Member'")
    assert "Gold" not in shown
    assert shown.startswith(reported.split("'")[0])


def test_an_escaped_quote_does_not_end_a_value() -> None:
    assert general(r"Unexpected token 'Ann\'s card' here") == "Unexpected token … here"


@pytest.mark.parametrize("message", ["unknown name 'Ann Smi", 'unknown name "Ann Smi', "unknown 'card' of 'Ann Smi"])
def test_a_cut_quoted_value_does_not_survive(message: str) -> None:
    assert "Smi" not in general(message)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quote_within_does_not_end_a_value(quote: str) -> None:
    assert general(f"no customer {quote}O{quote}Brien{quote} here") == "no customer … here"


@QUICK
@given(ADDRESSES)
def test_an_address_does_not_survive(address: str) -> None:
    assert general(f"no customer with {address} found") == "no customer with … found"
    assert address not in general(f"email:{address}, refused")


@QUICK
@given(st.text(max_size=400))
def test_the_result_is_one_short_printable_line(message: str) -> None:
    shown = general(message)
    assert shown.isprintable()
    assert len(shown) <= LONGEST


def test_control_characters_are_escaped_and_the_words_stay() -> None:
    assert general("first\r\nsecond\x1b[31m\x00") == "first\\r\\nsecond\\x1b[31m\\x00"


def test_a_value_with_control_characters_does_not_survive() -> None:
    assert general("unknown name 'Ann\nSmith' here") == "unknown name … here"
    assert "382442802" not in general("row\t382442802\n")


def test_cutting_leaves_no_half_of_a_value() -> None:
    assert "38244" not in general("x " * 77 + "382442802382442802")


@pytest.mark.parametrize(
    "message",
    [
        "GLOBAL.BADGE_NOT_FOUND",
        "HTTP 400, code 1054: GLOBAL.BADGE_NOT_FOUND",
        "HTTP 503",
        "Multiple actions are running for the same customer. Please try after some time.",
        "Event date is not in duration of badge meta",
        "Customer doesn't have issue instance",
        "is not 24 hexadecimal digits, as a badgeMetaId is",
        "outside 2000-01-01 .. 2100-01-01 when read as epoch seconds or ISO 8601",
        "looks like epoch milliseconds; give epoch seconds or ISO 8601 text",
        "",
    ],
)
def test_a_message_without_values_stays_as_it_is(message: str) -> None:
    assert general(message) == message


@QUICK
@given(st.text(max_size=200))
def test_a_general_text_is_stable(message: str) -> None:
    printable = "".join(character for character in message if character.isprintable() and character not in "'\"\\@")
    once = general(printable)
    assert general(once) == once


PIECES = [
    "'",
    '"',
    " ",
    "s ",
    "'s ",
    "\N{RIGHT SINGLE QUOTATION MARK}s ",
    "a",
    "x1",
    "12345",
    "é",
    "\\",
    "_",
    "@",
    "\n",
    "; ",
    "65" * 12,
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.lists(st.sampled_from(PIECES)).map("".join))
def test_a_remembered_text_equals_a_new_one(text: str, value: str) -> None:
    faults = f"customer_id '{value}' is not Capillary's own; earn '{value}y' is bad"
    for message in (text, faults):
        assert general(message) == general_text._general(message)
