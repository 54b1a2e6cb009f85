"""Masks the values of a row in a message, so that it may be logged and equal reasons can be counted."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 160
_VALUES = re.compile(
    r"""(?<!\w)(?P<quote>['"])(?:\\.|.)*?(?:(?P=quote)(?!\w)|$)  # quoted values, also those cut off; no apostrophes
      | [^\s@,;:]+@[^\s@,;:]+                          # addresses
      | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:_\d+)?  # UUIDs and request ids
      | [0-9a-f]{16,}(?:_\d+)?                         # object ids
      | \d{5,}                                         # customer ids, telephone numbers, instants""",
    re.VERBOSE | re.IGNORECASE,
)

_MARK = "\N{RIGHT SINGLE QUOTATION MARK}"  # stands for an apostrophe for a moment
_APOSTROPHE = re.compile(r"(?<=\w)'s ")
_FIRST_OF_WORD = re.compile(r"\w").match


def general(message: str) -> str:
    """Replace values by ``…``, escape control characters, and cut the message to a line.

    >>> general("customerId '12a' is not a positive whole number")
    'customerId … is not a positive whole number'
    """
    # Most of a million bad rows differ only in their quoted values, so the text around these is cached.
    around = _APOSTROPHE.sub(f"{_MARK}s ", message).split("'")
    if len(around) > 2 and len(around) % 2 and _is_plainly_quoted(message, around):
        return _general_around(tuple(around[::2]))
    return _general(message)


def _is_plainly_quoted(message: str, around: list[str]) -> bool:
    """Whether each quoted value begins after a blank, ends at the next quote, and holds no other one."""
    if '"' in message or _MARK in message or "\\" in message or not message.isprintable():
        return False
    outside = around[::2]
    return all(text[-1:] == " " for text in outside[:-1]) and not any(map(_FIRST_OF_WORD, outside[1:]))


@lru_cache(maxsize=4096)
def _general_around(outside: tuple[str, ...]) -> str:
    return _general("'-'".join(outside).replace(_MARK, "'"))


def _general(message: str) -> str:
    printable = message if message.isprintable() else message.encode("unicode_escape").decode("ascii")
    text = _VALUES.sub("…", printable)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
