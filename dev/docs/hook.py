"""What MkDocs calls for every page: puts in the parts that are made from the code; see ``reference.py``."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

# Before anything imports airflow, which writes its configuration there: a person's own Airflow is not touched.
_HOME = tempfile.TemporaryDirectory(prefix="capillary-docs-")
os.environ["AIRFLOW_HOME"] = _HOME.name

from dev.docs.reference import completed  # noqa: E402

#: Leads out of ``docs/``, to files of the repository, which the pages do not have.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs: complete the page; links that lead out of ``docs/`` become names of files."""
    depth = page.file.src_uri.count("/") + 1
    return _OUTSIDE.sub(lambda link: _named(link, depth), completed(markdown))


def _named(link: re.Match[str], depth: int) -> str:
    climbs = link[0].partition("](")[2].count("../")
    if climbs < depth:
        return link[0]
    return link[1] if link[1].strip("`") == link[2] else f"{link[1]} (`{link[2]}`)"
