"""Masks secrets in text and makes it short and printable. Every text of a server passes through here."""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "***"
LONGEST = 300  #: characters of a shown text
LONGEST_SEARCHED = 20_000  #: characters that are searched for patterns

_SECRET_NAMES = (
    r"(?:proxy-)?authorization|x-cap-api-oauth-token|cap-api-access-token|(?:set-)?cookie|access[_-]?token|token|"
    r"password|passwd|secret|client[_-]?secret|api[_-]?key|md5"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # The value of a header or a JSON field, quoted or not.
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

    ``secrets`` are masked first, however they are written. Pass the whole text: if it was cut, a part of a secret
    may stay.
    """
    known = frozenset(filter(None, secrets))
    # Cached, because many refused rows repeat a few messages thousands of times.
    return _remembered(text, known, longest) if len(text) <= LONGEST else _redacted(text, known, longest)


def _redacted(text: str, secrets: frozenset[str], longest: int) -> str:
    known = _spelled(secrets)
    text = known.sub(HIDDEN, text)[:LONGEST_SEARCHED]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    printable = text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)
    text = " ".join(printable.split())
    text = known.sub(HIDDEN, text)  # a secret that was broken over lines is whole now
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


_remembered = functools.lru_cache(maxsize=256)(_redacted)


@functools.lru_cache(maxsize=64)
def _spelled(secrets: frozenset[str]) -> re.Pattern[str]:
    """A pattern that finds the secrets as they are, and as URLs, forms, JSON and HTML write them; the longest first."""
    written = {
        spelling
        for secret in secrets
        for spelling in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            html.escape(secret),
            html.escape(secret, quote=False),
        )
    }
    longest_first = sorted(written, key=len, reverse=True)
    nothing = "(?!)"
    return re.compile("|".join(map(re.escape, longest_first)) or nothing, re.IGNORECASE)
