"""Does what ``airflow capillary probe`` says: asks once, grants, revokes, and prints what to set."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
from airflow.sdk.log import mask_secret

from airflow_provider_capillary.cli import display
from airflow_provider_capillary.cli.commands import as_server, command, opened_ledger, person
from airflow_provider_capillary.client.badge_client import BadgeClient
from airflow_provider_capillary.client.client_settings import ImportMethod
from airflow_provider_capillary.core.field_values import BadValueError, badge_id_of, customer_id_of
from airflow_provider_capillary.core.probing import MOST_GRANTS, Answers
from airflow_provider_capillary.exceptions import ConfigurationError
from airflow_provider_capillary.hooks.capillary import CapillaryBadgeHook
from airflow_provider_capillary.jobs.organisation import Organisation
from airflow_provider_capillary.jobs.probe import Probed, ProbeJob
from airflow_provider_capillary.operators.running_task import connected

_LONGEST_WAIT = 3_600.0


@command
def probe(args: Namespace) -> None:
    """Grant one to three badges to one customer, find out how the API answers, and revoke them."""
    customer, badge = (
        _checked("--customer", args.customer, customer_id_of),
        _checked("--badge", args.badge, badge_id_of),
    )
    if not (math.isfinite(args.wait) and 0 <= args.wait <= _LONGEST_WAIT):
        raise ConfigurationError(f"--wait {args.wait:g} is out of range; give 0 to {_LONGEST_WAIT:g} seconds")
    with as_server():
        hook = connected(args.conn_id)
        organisation = Organisation(hook.get_conn(), hook.organisation, hook.requests_per_minute)
    with opened_ledger(args, make=True) as ledger, _clients(hook) as client_of:
        if not args.yes and not _confirmed(hook, customer, badge):
            raise ConfigurationError("not confirmed: nothing was granted")
        job = ProbeJob(organisation, client_of, ledger, customer, badge, by=person(), wait=args.wait)
        probed = job.run()
    display.print_details(_facts(probed), args.output)
    if probed.error is not None:
        raise probed.error


def _checked(name: str, text: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(text)
    except BadValueError as error:
        raise ConfigurationError(f"{name} {text!r} {error}. Nothing was granted") from None


def _confirmed(hook: CapillaryBadgeHook, customer: int, badge: str) -> bool:
    """Ask once. If nobody can answer, the answer is no."""
    sys.stderr.write(
        f"This grants at most {MOST_GRANTS} badges {badge} to customer {customer} of organisation {hook.organisation} "
        f"at {hook.settings.client.base_url}, and revokes them. The customer may see them meanwhile. Go on? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _clients(hook: CapillaryBadgeHook) -> Iterator[Callable[[str], BadgeClient]]:
    """Give a client for each method. The settings of the connection are not changed."""
    made: dict[str, BadgeClient] = {}

    def client_of(method: str) -> BadgeClient:
        if method not in made:
            settings = msgspec.structs.replace(hook.settings.client, import_method=ImportMethod(method))
            made[method] = BadgeClient(settings, on_secret=mask_secret)
        return made[method]

    with closing(hook.get_conn()):
        try:
            yield client_of
        finally:
            for client in made.values():
                client.close()


def _facts(probed: Probed) -> dict[str, Any]:
    counts = {"granted": probed.granted, "revoked": probed.revoked, "of_an_earlier_probe": probed.recovered}
    return {
        **probed.answers.as_dict(),
        **counts,
        "may_still_be_there": list(probed.left),
        "advice": _advice(probed.answers),
    }


def _advice(answers: Answers) -> str:
    if answers.way is None:
        return "No way to import was found; see the tries. Find out why they failed before you set anything."
    extras = msgspec.json.encode(answers.extras).decode()
    if answers.can_verify:
        return f"Set {extras} in the connection's extra, and verify_after={answers.verify_after:g} on the import."
    shown = "do not show imported badges" if not answers.reads_show else f"show {answers.read_instant}"
    return (
        f"Set {extras} in the connection's extra. Reads {shown}, so no read can prove that a badge is not there: set "
        "on_unknown='hold' on the import, and settle unknown rows by hand."
    )
