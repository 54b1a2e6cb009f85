"""drt-core: ``drt run`` from DuckDB, which reads the Parquet file, to its ``rest_api`` destination in batch mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from measuring import measured

SYNC = """\
name: badges
model: "SELECT badgeMetaId, customerId, earnEventDate, earnExpiresOn FROM read_parquet('{dataset}')"
destination:
  type: rest_api
  url: "{api}/api_gateway/v1/badges/import/customerBadges"
  method: PUT
  headers: {{"Content-Type": "application/json"}}
  body_mode: batch
  batch_template: "{{{{ rows | tojson_safe }}}}"
  rate_limit: {{requests_per_second: 0}}
sync:
  mode: full
  batch_size: {batch_size}
  rate_limit: {{requests_per_second: 0}}
"""


def main(dataset: str, api: str, batch_size: int, state: str) -> None:
    """Send the dataset."""
    project = Path(state)
    (project / "syncs").mkdir(parents=True, exist_ok=True)
    (project / ".drt").mkdir(exist_ok=True)
    (project / ".drt" / "profiles.yml").write_text("local:\n  type: duckdb\n  database: ':memory:'\n")
    (project / "drt_project.yml").write_text("name: badges\nprofile: local\n")
    (project / "syncs" / "badges.yml").write_text(SYNC.format(dataset=dataset, api=api, batch_size=batch_size))
    env = os.environ | {"HOME": state, "DRT_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"}
    drt = Path(sys.executable).with_name("drt")

    def work() -> int:
        command = [str(drt), "run", "--output", "json"]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
        facts = json.loads(done.stdout[done.stdout.index("{") :])
        return int(facts["syncs"][0]["rows_synced"])

    measured(work)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
