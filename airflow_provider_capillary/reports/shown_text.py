"""Values as a person reads them: text that others wrote made visible and harmless, counts, shares, durations.

Escaping for HTML is not done here but by the template, for all values and without exception.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

LONGEST_TEXT = 300
#: Shown as they are although they have no shape: scripts of India and Persia need them within words.
_JOINERS = "\u200c\u200d"
_USER_OF_A_URI = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""Text on one line, cut; what is invisible or turns the direction of reading is written out (``\u202e``)."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return cut if cut.isprintable() else "".join(map(_visible, cut))


def without_password(uri: str) -> str:
    """A URI whose password, if it has one, is not shown: a report is passed on."""
    return _USER_OF_A_URI.sub(r"\1:…@", uri)


def number(count: int) -> str:
    """A count with commas."""
    return f"{count:,}"


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, never rounded to none or to all of it."""
    if whole <= 0 or part <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    tenths = part * 1000 // whole
    return "<0.1%" if tenths == 0 else f"{tenths / 10:.1f}%"


def duration(seconds: int) -> str:
    """Whole seconds in the two largest units that say something."""
    for unit, size, part, part_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part_size
            return f"{seconds // size:,} {unit} {rest} {part}" if rest else f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def instant(iso: str) -> str:
    """An instant of the reports (ISO 8601 with an offset) with its time zone."""
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
