"""How long the hubs wait, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTimings:
    """All in seconds.

    A silent hub is probed after `probe_after` while an account is exposed, and after
    `probe_after_idle` otherwise. It must answer within `answer`. A server that never acknowledged
    an invocation is not probed; for it only `silent` counts (no frame at all, pings included). With
    exposure, silence is noticed within probe_after + answer + 2 check = 4.5 s. Once a server has
    acknowledged an invocation, a new link counts as up only after an answer on it, within `answer`.
    """

    check: float = 0.5
    open: float = 8.0
    acknowledge: float = 1.0
    probe_after: float = 1.5
    probe_after_idle: float = 10.0
    answer: float = 2.0
    silent: float = 35.0
    retries: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    jitter: float = 0.2
    ask_again: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 60.0)
    """The pauses before a refused subscription is asked for again."""
    steady: float = 30.0
    """After a hub was up for this long, `retries` starts again at the first step."""
    close: float = 5.0
    overslept: float = 1.0
    """A check this late means that this process was suspended: the silence is counted anew."""
    logout_memory: float = 600.0
    between_renewals: float = 30.0
    unreadable_quotes: float = 60.0
