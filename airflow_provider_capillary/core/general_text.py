"""Messages without the row's own values: fit for logs and XCom, and equal for equal reasons."""

from __future__ import annotations

import re

LONGEST = 160
_VALUES = re.compile(
    r"""(?<!\w)(?P<quote>['"])(?:\\.|.)*?(?:(?P=quote)(?!\w)|$)  # quoted values, also those cut off; no apostrophes
      | [^\s@,;:]+@[^\s@,;:]+                          # addresses
      | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:_\d+)?  # UUIDs and request ids
      | [0-9a-f]{16,}(?:_\d+)?                         # object ids
      | \d{5,}                                         # customer ids, telephone numbers, instants""",
    re.VERBOSE | re.IGNORECASE,
)


def general(message: str) -> str:
    """Put ``…`` in the place of values, control characters escaped, cut to a line."""
    printable = message if message.isprintable() else message.encode("unicode_escape").decode("ascii")
    text = _VALUES.sub("…", printable)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
