"""The texts of the reports and of the page, and how values are formatted for people.

Texts about rows and reasons come from ``core/reason_table.py``. Untrusted text is made visible here; the templates
escape all values for HTML.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from airflow_provider_capillary.core import reason_table, reasons

STATES = reason_table.STATES
DRY_RUN = reason_table.DRY_RUN
NOT_KNOWN = reason_table.NOT_KNOWN
MAY_BE_TWICE = reason_table.MAY_BE_TWICE
SETTLED = reason_table.SETTLED
explain = reasons.explain
names = reasons.names

#: The stage of an issue -> what the import was doing.
STAGES = {
    "validate": "checking the row",
    "plan": "looking it up in the ledger",
    "badge_check": "looking the badge up",
    "send": "sending",
    "verify": "reading back",
}

#: The state of a job in the ledger -> the word for people.
JOBS = {"finished": "succeeded", "failed": "failed", "open": "not ended", "dead": "died"}
NOT_ENDED = "It is running. This report shows what it has recorded so far. Write the report again when it has ended."
DIED = (
    "Its process was killed, or its machine went down, before it could write its summary. The numbers come from the "
    "ledger. Rows in doubt were sent, or about to be sent; errors.csv lists them as they were sent. Rows not sent "
    "are in the dataset only. Run the import again, on the page Badge imports or by clearing its task: it reads "
    "rows in doubt back and sends the rest; what was accepted is not sent again."
)

LONGEST_TEXT = 300
#: These invisible characters are left as they are, because scripts of India and Persia need them within words.
_JOINERS = "\u200c\u200d"
_USER_OF_A_URI = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""Text on one line, cut. Characters that are invisible or reverse the text are written out (``\u202e``)."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return cut if cut.isprintable() else "".join(map(_visible, cut))


def without_password(uri: str) -> str:
    """A URI with its password masked, because reports are passed on."""
    return _USER_OF_A_URI.sub(r"\1:…@", uri)


def number(count: int) -> str:
    """A count with commas."""
    return f"{count:,}"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent. A part is never rounded to 0% or 100%: ``<0.1%``, ``99.9%``."""
    if whole <= 0 or part <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    tenths = part * 1000 // whole
    return "<0.1%" if tenths == 0 else f"{tenths / 10:.1f}%"


def duration(seconds: int) -> str:
    """Whole seconds in the two largest units: ``2 h 5 min``."""
    for unit, size, part, part_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part_size
            return f"{seconds // size:,} {unit} {rest} {part}" if rest else f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def instant(iso: str) -> str:
    """An instant of the reports (ISO 8601 with an offset) with its time zone.

    :raises ValueError: it has no offset.
    """
    moment = datetime.fromisoformat(iso)
    if moment.tzinfo is None:
        raise ValueError(f"{iso} has no offset")
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    # Cc: controls; Cf: direction and joining; Cs: halves of a pair; Zl, Zp: line ends
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character
