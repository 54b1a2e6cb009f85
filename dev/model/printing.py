"""Prints a run of the model so that a person can follow it: one numbered line for each step, one actor a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

API = 100
CLOCK = 101


class Move(NamedTuple):
    """One step: who does what, with which row. ``text`` may name ``{row}`` and ``{job}``."""

    actor: int
    text: str
    row: int | None = None


def actor_name(actor: int, jobs: Sequence[int]) -> str:
    """Who acts, for people; workers and jobs are numbered from 1."""
    if actor == API:
        return "API"
    if actor == CLOCK:
        return "time"
    return f"worker {actor + 1} (job {jobs[actor] + 1})"


def numbered(moves: Sequence[Move], jobs: Sequence[int], end: str) -> str:
    """The run as text, with what is wrong at its end."""
    lines = []
    for number, move in enumerate(moves, 1):
        job = jobs[move.actor] + 1 if move.actor < len(jobs) else None
        row = None if move.row is None else move.row + 1
        text = move.text.format(row=row, job=job)
        lines.append(f"{number:>3}. {actor_name(move.actor, jobs):<16} {text}")
    return "\n".join([*lines, f"  => {end}"])
