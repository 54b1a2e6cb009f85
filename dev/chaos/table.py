"""Expectations for each policy, and the one table that shows whether they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .campaign import Result

_COLUMNS = (
    "policy", "ledger", "rows", "twice", "of which unreported", "accepted, not granted", "granted, denied",
    "unknown (of which granted)", "not sent", "lost", "unaccounted", "ids lost", "deaths", "requests", "seconds",
)  # fmt: skip


def broken_expectations(result: Result) -> list[str]:
    """What a campaign shows that may not be. ``resend`` may grant twice, and its reports must say of which rows."""
    found = result.difference
    zeros = {"lost": found.lost, "unaccounted": found.unaccounted, "accepted, not granted": found.not_granted}
    zeros |= {"granted twice and not reported": found.unreported, "ids lost": found.ids_lost}
    if result.policy != "resend":
        zeros |= {"granted twice": found.twice, "granted, denied": found.denied}
    return [f"{count} {name}" for name, count in zeros.items() if count]


def table(results: Sequence[Result]) -> str:
    """One line for each policy and kind of ledger."""
    kinds = sorted({(result.policy, result.ledger) for result in results})
    lines: list[tuple[str, ...]] = [_COLUMNS]
    for policy, ledger in kinds:
        lines.append(_line(policy, ledger, [r for r in results if (r.policy, r.ledger) == (policy, ledger)]))
    lines.append(_line("all", "", results))
    widths = [max(len(line[place]) for line in lines) for place in range(len(_COLUMNS))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _line(policy: str, ledger: str, results: Iterable[Result]) -> tuple[str, ...]:
    each = list(results)
    found = [result.difference for result in each]

    def total(name: str) -> str:
        return f"{sum(getattr(difference, name) for difference in found):,}"

    return (
        policy, ledger, total("rows"), total("twice"), total("unreported"), total("not_granted"), total("denied"),
        f"{total('unknown')} ({total('unknown_granted')})", total("not_sent"), total("lost"), total("unaccounted"),
        total("ids_lost"),
        f"{sum(result.deaths for result in each):,}", f"{sum(result.requests for result in each):,}",
        f"{sum(result.seconds for result in each):,.0f}",
    )  # fmt: skip
