"""Text that may be shown: short, printable, without secrets. Everything a server says passes through here."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
LONGEST = 300  #: characters of a shown text

_SECRET_NAMES = (
    r"(?:proxy-)?authorization|x-cap-api-oauth-token|cap-api-access-token|(?:set-)?cookie|access[_-]?token|token|"
    r"password|passwd|secret|client[_-]?secret|api[_-]?key|md5"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A header's value or a JSON field, quoted or not, up to where the value ends.
    (
        re.compile(
            rf"""(?i)(["']?\b(?:{_SECRET_NAMES})\b["']?\s*[:=]\s*)(?:"[^"]*"?|'[^']*'?|(?:(?:basic|bearer)\s+)?[^\s,;&}}\]]+)"""
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(basic|bearer)\s+[A-Za-z0-9+/=._~-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,2}"), HIDDEN),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@"), rf"\1{HIDDEN}@"),
    # Query strings hold customers' phone numbers and addresses.
    (re.compile(r"""(?<=[\w/])\?[^\s"'<>()]+=[^\s"'<>()]*"""), f"?{HIDDEN}"),
)


def redacted(text: str, secrets: Iterable[str] = (), *, longest: int = LONGEST) -> str:
    """Give ``text`` on one line, cut at ``longest`` characters, without anything that looks like a credential.

    ``secrets`` are removed wherever they stand, before any pattern is tried. The text is cut last, so that
    no half of a secret is left at its end.
    """
    for secret in sorted({each for each in secrets if each}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
