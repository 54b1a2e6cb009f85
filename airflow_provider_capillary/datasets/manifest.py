"""The one small file that says which parts make up a published dataset; what it does not name is no part of it.

To write it is to publish, at once, on any storage. The parts it names are never changed: the name of a part says
its content, so another content is another file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airflow_provider_capillary.datasets.text_files import digest_of
from airflow_provider_capillary.exceptions import DatasetError

MANIFEST = "_manifest.json"
_PART = re.compile(r"part-\d{5}-of-\d{5}-[0-9a-f]{16}\.parquet")
_UNFINISHED = re.compile(r"\.(part-\d{5}-of-\d{5}-[0-9a-f]{16}\.parquet|_manifest\.json)\.[0-9a-f]{32}")


class Manifest(msgspec.Struct, frozen=True):
    """What a published dataset consists of."""

    parts: tuple[str, ...]  #: names within the folder, in the order in which they are read
    rows: int

    def encode(self) -> bytes:
        """The file's content; the same for the same dataset."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def decoded(content: bytes, uri: str) -> Manifest:
    """The manifest in a file's content; one that is none is a ``DatasetError``."""
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DatasetError(f"{uri}: {MANIFEST} is broken ({error}). Run the extract that writes it again.") from error


def published_names(parts: Sequence[Path]) -> list[str]:
    """The name of each part in its folder: its own, with the digest of the whole dataset.

    All parts of a dataset have the same digest. So two datasets share no file, and none can lose one to the other.
    """
    whole = hashlib.blake2b(b"".join(digest_of(part) for part in parts), digest_size=8).hexdigest()
    return [f"{part.stem}-{whole}{part.suffix}" for part in parts]


def is_part(name: str) -> bool:
    """Whether a file is a part, published or not."""
    return _PART.fullmatch(name) is not None


def is_unfinished(name: str) -> bool:
    """Whether an extract was about to bring this file, and has not yet."""
    return _UNFINISHED.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Whether an extract has written this file, so that the next one may remove it."""
    return name == MANIFEST or any(pattern.fullmatch(name) for pattern in (_PART, _UNFINISHED))
