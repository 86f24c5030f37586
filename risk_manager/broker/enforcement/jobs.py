"""The state of one action while it is being carried out."""

import asyncio
from dataclasses import dataclass, field

from risk_manager.broker.enforcement.results import Result, unsent
from risk_manager.domain.decisions import Action, Outcome


@dataclass(slots=True, eq=False)
class Job:
    """One action being carried out. `answered`: its call has ended, with whatever result.

    `is_sent`: a call for it may have left this machine. `before` is the job whose call this job
    waits for; None once it makes its own call. If a later action follows it before that, this job
    makes no call: its position has ended, and the later action closes the one held now.
    """

    action: Action
    before: "Job | None" = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_followed: bool = False
    is_sent: bool = False

    def cut_short(self, message: str) -> Result:
        """Return the result of a job whose answer was not awaited."""
        if not self.is_sent:
            return unsent(f"{message}; not sent")
        return Result(outcome=Outcome.UNKNOWN, verified=False, message=message)

    @property
    def newest_call(self) -> "Job":
        """The job that made the newest call: this one, or the one it waits for."""
        return self if self.before is None else self.before
