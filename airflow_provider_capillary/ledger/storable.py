"""Texts of the API that every database takes."""

from __future__ import annotations

from collections.abc import Sequence


def storable_all(texts: Sequence[str | None]) -> Sequence[str | None]:
    """Texts that can be stored; where all are plain, as ids are, none is looked at on its own."""
    joined = "".join(filter(None, texts))
    if joined.isascii() and "\0" not in joined:
        return texts
    return list(map(storable, texts))


def storable(text: str | None) -> str | None:
    """PostgreSQL takes no NUL, and no database a lone surrogate; what the API says may hold both."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
