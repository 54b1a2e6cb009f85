"""Where reports are kept: finished files come to their place whole, over what an earlier try has left there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_capillary.datasets.locations import local_path
from airflow_provider_capillary.datasets.storage import Folder
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.reports.report_facts import ReportFacts

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def report_folder(root: str, facts: ReportFacts) -> str:
    """The URI of the folder of these jobs below ``root``: the same jobs always have the same one."""
    ids = [job.job_id for job in facts.jobs]
    first = facts.jobs[0]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    jobs = ids[0] if len(ids) == 1 else f"{len(ids)}-jobs-{digest[:16]}"
    return "/".join((root.rstrip("/"), *(_safe(name) for name in (first.dag_id, first.run_id, jobs))))


def publish_files(files: Sequence[Path], folder: str) -> list[str]:
    """Move local files into a folder on any object storage and return their URIs.

    Each file appears at once: on a local disk by a rename, on object storage by the upload itself. A bucket is
    never made: one that does not exist is a typing error, and reports hold customers' rows.

    :raises ConfigurationError: the folder cannot be used as it is given.
    """
    path = local_path(folder)
    if path is not None and not path.is_absolute():
        raise ConfigurationError(f"report_path {folder!r} is relative: workers differ in where that is. Give a URI.")
    target = Folder(folder, "report_path")
    for file in files:
        target.put(file, file.name)
        file.unlink()  # on one disk both names are one file, which a later report may overwrite
    # not Path.as_uri(): Airflow takes the path of a file URI as it stands, blanks and all
    place = folder if path is None else f"file://{path}"
    return [f"{place}/{file.name}" for file in files]


def _safe(name: str) -> str:
    safe = _UNSAFE.sub("_", name)
    return safe if safe.strip(".") else "_"
