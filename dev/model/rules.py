"""The switches of the model: the protocol's rules, what reads show, and how much may go wrong."""

from __future__ import annotations

import msgspec


class Rules(msgspec.Struct, frozen=True):
    """The rules of the protocol. With all of them on nothing is granted twice; each is here because it is needed."""

    intent_first: bool = True  #: the intent is committed before the first byte leaves
    fence: bool = True  #: a worker whose lease was taken over can note no intent and no report
    verify_after: bool = True  #: no row is read back while a body of it may still be applied
    margin: bool = True  #: after a death, wait as much longer as a body may leave after its intent
    age_at_body: bool = True  #: an intent that is too old is taken back at the moment when its body would leave
    age_counts_sleep: bool = True  #: the age of an intent grows while the machine sleeps
    steady_clock: bool = True  #: stamps are compared by a clock that does not jump
    count: bool = True  #: "not there" is believed only if the API counts no more earns than the ledger knows of
    count_first: bool = True  #: the ledger's rows are counted before the read, not after it
    control: bool = True  #: "not there" is believed only after a badge that is known to be there was shown
    own_sign: bool = True  #: an earn that may be another row's is taken for ours only after such a badge was shown


ALL_RULES = Rules()


def without(*names: str) -> Rules:
    """All rules but these."""
    return msgspec.structs.replace(ALL_RULES, **dict.fromkeys(names, False))


class World(msgspec.Struct, frozen=True):
    """How the API's reads behave; it does not change while an import runs."""

    name: str
    shows_imports: bool = True
    lists_earns: bool = False  #: whether each earn is listed beside the last one
    cuts_to: int = 1  #: instants are cut down to a multiple of so many seconds


HONEST = World("reads are honest, and show the last earn only")
LISTING = World("reads are honest, and list every earn", lists_earns=True)
BLIND = World("reads do not show imports", shows_imports=False)
CUTTING = World("reads cut instants to the minute", cuts_to=60)
CUTTING_MORE = World("reads cut instants to the hour, at which another row stands", cuts_to=3600)


class Mishaps(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How much may (still) go wrong in one run, over all workers."""

    crashes: int = 0
    lost_replies: int = 0
    late_commits: int = 0  #: bodies that are applied after their sender gave up or died
    failed_connects: int = 0  #: requests of which nothing is written
    refusals: int = 0  #: rows that the API refuses once
    delayed_reads: int = 0  #: grants that reads show only later
    clock_steps: int = 0
    sleeps: int = 0  #: a machine sleeps while time goes on elsewhere
    pauses: int = 0  #: a lease runs out under a worker that lives


COPIES = (0, 0)  #: two workers on one job
JOBS = (0, 1)  #: two workers on two jobs with the same rows


class Bound(msgspec.Struct, frozen=True):
    """How far the search goes."""

    jobs: tuple[int, ...] = COPIES  #: the job of each worker
    rows: int = 3
    sends: int = 2  #: how often one process sends one row before it stops
    mishaps: Mishaps = Mishaps()
    free_time: bool = False  #: ticks pass at any moment, not only where that can change what follows
