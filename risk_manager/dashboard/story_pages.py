"""The story of the pages that the log looks at: of today beside what was heard, or earlier days."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from risk_manager.dashboard.enforcement_facts import accounts_shown
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.story import Deed, Entry, Story
from risk_manager.feed.messages import EnforcementAction, History, LockoutCleared, LockoutSet

SAME_WITHIN = timedelta(seconds=1)
Page = tuple[int, History]


def pages(glance: Glance) -> list[Page]:
    """Return the pages of the day looked at that have come, of the accounts shown."""
    earlier = is_earlier(glance)
    found = ((a.account_id, glance.history("story", a.account_id)) for a in accounts_shown(glance))
    return [
        (account_id, page)
        for account_id, page in found
        if page is not None and (page.before is not None) == earlier
    ]


def is_earlier(glance: Glance) -> bool:
    """Whether an earlier day is looked at, and not what happens now."""
    return any(("story", a.account_id) in glance.befores for a in accounts_shown(glance))


def story_shown(glance: Glance) -> Story:
    """Return what was heard, with today's pages below it; or the pages of an earlier day alone."""
    told = pages(glance)
    if is_earlier(glance):
        return _with_pages(Story(), told)
    return _with_pages(glance.picture.story, told)


def _with_pages(heard: Story, told: Iterable[Page]) -> Story:
    story = Story()
    decided = _decided(heard)
    for account_id, page in told:
        deeds = [
            deed
            for deed in _deeds(account_id, page)
            if not isinstance(deed, EnforcementAction)
            or deed.action_id is not None
            or not _is_told(decided.get(_matter(account_id, deed), ()), deed)
        ]
        story = story.told(account_id, *deeds, kept=None)
        for alarm in page.alarms:
            story = story.told(alarm.account_id, alarm, kept=None)
    return Story({**story.entries, **heard.entries})


def _deeds(account_id: int, page: History) -> Iterator[Deed]:
    yield from page.enforcements
    for lock in page.locks:
        lockout_id = f"{account_id}:{lock.scope}:{lock.rule_id}"
        yield LockoutSet(
            lockout_id=lockout_id,
            rule_id=lock.rule_id,
            scope=lock.scope,
            policy=lock.policy,
            kind=lock.kind,
            release=lock.release,
            reason=lock.reason,
            locked_at=lock.set_at,
            locked_until=lock.expires_at,
        )
        if lock.cleared_at is not None:
            yield LockoutCleared(
                lockout_id=lockout_id,
                rule_id=lock.rule_id,
                scope=lock.scope,
                cleared_at=lock.cleared_at,
                cleared_by=lock.cleared_by,
            )


def _decided(story: Story) -> dict[object, list[Entry]]:
    found: dict[object, list[Entry]] = {}
    for entry in story.entries.values():
        deed = entry.deed
        if isinstance(deed, EnforcementAction) and deed.action_id is None:
            found.setdefault(_matter(entry.account_id, deed), []).append(entry)
    return found


def _matter(account_id: int | None, deed: EnforcementAction) -> object:
    return account_id, deed.rule_ids, str(deed.details.get("subject", ""))


def _is_told(heard: Iterable[Entry], deed: EnforcementAction) -> bool:
    """Whether this decision was heard: the database has one row for all its repetitions."""
    return any(abs(entry.at - deed.timestamp) <= SAME_WITHIN for entry in heard)
