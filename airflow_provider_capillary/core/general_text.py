"""Messages without the row's own values: fit for logs and XCom, and equal for equal reasons."""

from __future__ import annotations

import re

LONGEST = 160
_VALUES = re.compile(
    r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*"     # quoted values
      | [^\s@,;:]+@[^\s@,;:]+                     # addresses
      | \b(?=\w*\d)[0-9a-fA-F-]{12,}\b            # object ids, UUIDs
      | \d{5,}                                    # customer ids, telephone numbers, instants""",
    re.VERBOSE,
)


def general(message: str) -> str:
    """Put ``…`` in the place of values, control characters escaped, cut to a line."""
    printable = message if message.isprintable() else message.encode("unicode_escape").decode("ascii")
    text = _VALUES.sub("…", printable)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
