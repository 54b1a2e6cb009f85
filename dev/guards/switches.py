"""How each guard is switched off: a place in the code, and what stands there instead."""

from __future__ import annotations

from dataclasses import dataclass

_PACKAGE = "airflow_provider_capillary"
#: Scripts in which the world goes wrong in one known way; see ``dev/chaos/expected_breaks.py``.
_MODES = "tests/chaos/test_modes.py::test_modes_break_only_what_is_known_to_break"
_WIRE_MODES = f"{_MODES}[wire]"


@dataclass(frozen=True)
class Guard:
    """A guard, the edits that switch it off, and the tests that must notice."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]

    @staticmethod
    def switched_off(text: str, old: str, new: str) -> str:
        """Make one edit; an edit that finds nothing switches nothing off."""
        if text.count(old) != 1:
            raise LookupError(f"stands there {text.count(old)} times, and should once: {old!r}")
        return text.replace(old, new)


GUARDS = (
    Guard(
        "the intent is committed before the first byte leaves",
        (
            (
                f"{_PACKAGE}/jobs/lane.py",
                "        try:\n            (key,) = self._ledger.record(intent)\n",
                "        reply = self._client.import_badges(body, request_id, lambda: None)\n"
                "        try:\n            (key,) = self._ledger.record(intent)\n",
            ),
            (
                f"{_PACKAGE}/jobs/lane.py",
                "            reply = None if too_late else self._client.import_badges(body, request_id, keep_back)\n",
                "            reply = None if too_late else reply\n",
            ),
        ),
        ("tests/integration/jobs",),
    ),
    Guard(
        "an intent that waited too long is taken back",
        ((f"{_PACKAGE}/jobs/lane.py", "begun > send_limits.STALE_INTENT_SECONDS", "begun > 1e9"),),
        ("tests/integration/jobs",),
    ),
    Guard(
        "the age of an intent is checked again where its body leaves",
        ((f"{_PACKAGE}/client/transport.py", "if self._keep_back is not None and", "if False and"),),
        ("tests/integration/jobs/test_slow_connections.py", "tests/integration/client/test_transport.py"),
    ),
    Guard(
        '"not there" is believed only after a control was shown',
        ((f"{_PACKAGE}/core/verification.py", "if not needs_control or control is Control.SHOWN:", "if True:"),),
        ("tests/integration/jobs/test_controls.py", "tests/unit/core/test_verification.py"),
    ),
    Guard(
        '"not there" is believed only where the API counts no earn too many',
        (
            (
                f"{_PACKAGE}/core/verification.py",
                "if finding is Finding.ABSENT and view.earn_count > known:",
                "if False:",
            ),
        ),
        ("tests/integration/jobs/test_controls.py", "tests/unit/core/test_verification.py"),
    ),
    Guard(
        "reading back counts from the latest moment at which a body can have left",
        (
            (
                f"{_PACKAGE}/core/send_limits.py",
                "leaving = STALE_INTENT_SECONDS + WRITE_SECONDS if cut_off else 0.0",
                "leaving = 0.0",
            ),
        ),
        ("tests/integration/jobs/test_slow_connections.py",),
    ),
    Guard(
        "a living copy keeps its lease",
        ((f"{_PACKAGE}/ledger/lease.py", "return min(float(found.lease_until) - now, lease_seconds)", "return 0.0"),),
        ("tests/integration/jobs", "tests/integration/ledger"),
    ),
    Guard(
        "an old owner can note no intent",
        (
            (
                f"{_PACKAGE}/ledger/queries.sql",
                "WHERE id = :job AND fence = :fence AND state = 'open'",
                "WHERE id = :job AND :fence = :fence AND state = 'open'",
            ),
            (
                f"{_PACKAGE}/ledger/queries.sql",
                "WHERE (id, fence, state) = (:job, :fence, 'open')",
                "WHERE (id, state) = (:job, 'open') AND :fence = :fence",
            ),
        ),
        ("tests/integration/jobs", "tests/integration/ledger"),
    ),
    Guard(
        "of two jobs one claims a row",
        (
            (
                f"{_PACKAGE}/ledger/recording.py",
                "row.state not in FREE or (row.doubt",
                "False or (row.doubt",
            ),
            (
                f"{_PACKAGE}/ledger/migrations/versions/0001_ledger.py",
                'f"{_OLD_STATE} NOT IN ({_MAY_BE_CLAIMED})",',
                '"1 = 0",',
            ),
        ),
        ("tests/integration/jobs", "tests/integration/ledger"),
    ),
    Guard(
        "the schema itself lets no row leave its batch but a free one",
        (
            (
                f"{_PACKAGE}/ledger/migrations/versions/0001_ledger.py",
                'f"{_OLD_STATE} NOT IN ({_MAY_BE_CLAIMED})",',
                '"1 = 0",',
            ),
        ),
        ("tests/integration/ledger/test_triggers.py",),
    ),
    Guard(
        "rows that were not looked up meet nothing",
        (
            (
                f"{_PACKAGE}/ledger/rows.py",
                "badge_id, earned_at) VALUES {rows}\n",
                "badge_id, earned_at) VALUES {rows} ON CONFLICT DO NOTHING\n",
            ),
        ),
        ("tests/integration/ledger/test_batches.py",),
    ),
    Guard(
        "a batch changes as a whole only where no row left it or differs from it",
        (
            (
                f"{_PACKAGE}/ledger/queries.sql",
                "WHERE id = :batch AND state = 'intent' AND row_count = :row_count AND gone = 0 AND NOT has_late_id\n"
                "    AND NOT EXISTS (SELECT 1 FROM capillary_odd_row x WHERE x.batch_id = capillary_batch.id)",
                "WHERE id = :batch AND state IN ('intent', 'unknown') AND row_count = :row_count",
            ),
        ),
        ("tests/integration/ledger/test_batches.py",),
    ),
    Guard(
        "what was accepted with its batch stays so",
        (
            (
                f"{_PACKAGE}/ledger/queries.sql",
                "SET state = 'unknown' WHERE job_id = :job AND state = 'intent'",
                "SET state = 'unknown' WHERE job_id = :job",
            ),
        ),
        ("tests/integration/ledger/test_batches.py",),
    ),
    Guard(
        "a reply must prove each row, at its own position",
        ((f"{_PACKAGE}/core/outcome.py", "if data is not None and not _is_about(", "if False and not _is_about("),),
        ("tests/unit/core", "tests/integration/jobs"),
    ),
    Guard(
        "no read is trusted before verify_after",
        ((f"{_PACKAGE}/jobs/read_back.py", "        self._wait_until(due)\n", ""),),
        ("tests/integration/jobs",),
    ),
    Guard(
        "the transport does not send again unasked",
        ((f"{_PACKAGE}/client/transport.py", "max_retries=0)", "max_retries=3)"),),
        ("tests/integration/client",),
    ),
    Guard(
        "an interim reply is not taken for the final one",
        ((f"{_PACKAGE}/client/transport.py", "if status >= http.HTTPStatus.OK:", "if status != 100:"),),
        ("tests/integration/jobs/test_interim_replies.py",),
    ),
    Guard(
        "a read is about the badge and the customer that were asked for",
        ((f"{_PACKAGE}/client/wire_reads.py", "if value is not None and (isinstance", "if False and (isinstance"),),
        ("tests/unit/client",),
    ),
    Guard(
        "408, 409 and 499 prove nothing",
        ((f"{_PACKAGE}/core/outcome.py", "if status in UNPROVING_STATUSES or not reply", "if not reply"),),
        (_WIRE_MODES, "tests/unit/core"),
    ),
    Guard(
        "a redirect proves nothing",
        (
            (
                f"{_PACKAGE}/core/outcome.py",
                "        return msgspec.structs.replace(_unknown(badges, reason, problem.code), redirected=True)\n",
                "        return Judgement(Verdict.STOP, reason, problem.code)\n",
            ),
        ),
        (_WIRE_MODES, "tests/unit/core"),
    ),
    Guard(
        "only an error envelope of the API's own shape proves anything",
        ((f"{_PACKAGE}/client/wire.py", "envelope = _own_problems(found)", "envelope = _problems(found)"),),
        (_WIRE_MODES, "tests/unit/client"),
    ),
    Guard(
        "a body leaves once, even where the transport would send it again",
        (
            (f"{_PACKAGE}/client/transport.py", "max_retries=0)", "max_retries=3)"),
            (f"{_PACKAGE}/client/transport.py", "        if self.has_left:\n", "        if False:\n"),
        ),
        ("tests/integration/client",),
    ),
    Guard(
        "an id that comes too late is kept, and reported where the row has another",
        (
            (
                f"{_PACKAGE}/ledger/odd_outcomes.py",
                "ids.keep_late(outcome.batch, accepted)",
                "pass",
            ),
        ),
        ("tests/integration/jobs/test_given_ids.py", "tests/integration/ledger/test_given_ids.py"),
    ),
    Guard(
        "ids of a reply without proof are kept",
        ((f"{_PACKAGE}/ledger/odd_outcomes.py", "        ids.keep(outcome.batch, outcome.given)\n", ""),),
        ("tests/integration/jobs/test_given_ids.py", "tests/integration/ledger/test_given_ids.py"),
    ),
    Guard(
        "a status that denies what its body grants is not believed",
        ((f"{_PACKAGE}/core/outcome.py", "    if judgement.verdict is not Verdict.UNKNOWN:\n", "    if False:\n"),),
        ("tests/unit/core", "tests/integration/jobs/test_given_ids.py"),
    ),
    Guard(
        "the doubt of a row sent again without proof outlives the process",
        ((f"{_PACKAGE}/ledger/odd_outcomes.py", "        if outcome.doubt:\n", "        if False:\n"),),
        ("tests/integration/jobs/test_doubt.py", "tests/integration/ledger/test_state_machine.py"),
    ),
    Guard(
        "a row in doubt is claimed only by a job that knows of it",
        ((f"{_PACKAGE}/ledger/recording.py", "or (row.doubt and", "or (False and"),),
        ("tests/integration/jobs/test_doubt.py", "tests/integration/ledger/test_state_machine.py"),
    ),
)
