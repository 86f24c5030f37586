"""How long enforcement waits, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the enforcer waits for the effect of a call, by reading the account ("looks").

    A fill takes moments, and a second close within them would be a mistake.

    `accepted_seconds`: the pauses before each look after a call that was accepted.
    `unclear_seconds`: the same after a call of unknown outcome, until one look has been answered.
    `look_seconds` limits one look, and `looks_seconds` all looks together. For a close of unknown
    outcome that limit counts from the sending.
    `before_seconds` limits the look before an action that depends on the size of the position.
    `placing_seconds`: how long looks are tried before an exit is placed without one, each
    `between_placing_seconds` after the other. Looks pause no longer than 2 s after a 429.
    `sure_seconds`: a call whose answer took longer may have closed a position opened meanwhile.
    `between_seconds` limits the look for that. It is short, as the new position stays open.
    `not_known_yet_seconds`: the wait before answering, if the gateway does not know yet what the
    stream has just reported.
    """

    accepted_seconds: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0, 1.0)
    unclear_seconds: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5)
    look_seconds: float = 1.2
    looks_seconds: float = 3.0
    before_seconds: float = 1.0
    placing_seconds: float = 2.5
    between_placing_seconds: float = 0.25
    between_seconds: float = 0.25
    sure_seconds: float = 0.1
    not_known_yet_seconds: float = 0.2
