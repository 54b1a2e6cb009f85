"""Runs commands of Airflow's command line in one process, for the tests beside it: one start for all of them.

Reads one JSON object a line: ``words``, ``env`` (``null``: not set), what is ``typed``, ``only_parse``. Answers with
one, first of all with the modules of this package that Airflow's parser has loaded.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any
from unittest import mock

PACKAGE = "airflow_provider_capillary"


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed must not stand between the answers
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    answer(answers, {"loaded": sorted(name for name in sys.modules if name.startswith(f"{PACKAGE}."))})
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        out, err = io.StringIO(), io.StringIO()
        # A lease that holds is refused without the minute that it takes to run out.
        impatience = mock.patch(f"{PACKAGE}.jobs.pacing.StopSignal.pause")
        typed = mock.patch("sys.stdin", io.StringIO(asked["typed"]))
        with (
            environment(asked["env"]),
            typed,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            impatience,
        ):
            code = called(parser, asked["words"], only_parse=asked.get("only_parse", False))
        answer(answers, {"code": code, "out": out.getvalue(), "err": err.getvalue()})


def called(parser: Any, words: list[str], *, only_parse: bool) -> Any:
    try:
        args = parser.parse_args(words)
        if not only_parse:
            args.func(args)
    except SystemExit as end:
        return end.code
    return 0


@contextlib.contextmanager
def environment(changes: dict[str, str | None]) -> Any:
    with mock.patch.dict(os.environ):
        for name, value in changes.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        yield


def answer(answers: Any, reported: dict[str, Any]) -> None:
    answers.write(json.dumps(reported) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
