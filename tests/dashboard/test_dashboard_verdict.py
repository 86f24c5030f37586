"""One answer to "may I trade?", from locks, status, streams, REST and the feed together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.picture import Line, Picture
from risk_manager.dashboard.shades import percent, place, word_and_colour
from risk_manager.dashboard.verdict import Tone, verdict, what_is_next
from risk_manager.feed.messages import (
    AccountSnapshot,
    DeadlineRow,
    HubRow,
    LockRow,
    MeterRow,
    RestRow,
)

NOW = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)
UP = HubRow(state="up", since=NOW)
DOWN = HubRow(state="down", since=NOW - timedelta(seconds=32), reason="reset by peer")

ACCOUNT = AccountSnapshot(
    account_id=101,
    name="combine",
    mode="enforce",
    balance=50_000.0,
    can_trade=True,
    simulated=True,
    reported_at=NOW,
    trading_date="2026-11-16",
    realised_net=0.0,
    realised_gross=0.0,
    fees=0.0,
    unrealised=0.0,
    total=0.0,
    executions=0,
    round_turns=0,
    contracts_held=0,
    lock_policy=None,
)
PICTURE = Picture(
    line=Line(up=True, heard_at=100.0),
    told_at=NOW,
    status="RUNNING",
    next_reset=NOW + timedelta(hours=7),
    accounts=(ACCOUNT,),
    hubs={"user": UP, "market": UP},
    rest=RestRow(ok=True),
)
METER = MeterRow(
    rule_id="loss", spec_id="RULE-003", title="Loss today", state="ok", sentence="$165.59 left"
)


def lock(**changes: object) -> LockRow:
    whole = LockRow(
        lockout_id="1",
        rule_id="loss",
        scope="account",
        policy="flat",
        kind="hard",
        release="time",
        reason="too much lost",
        set_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        admin_may_clear=False,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def glance(
    picture: Picture = PICTURE, account: AccountSnapshot | None = ACCOUNT, mono: float = 100.0
) -> Glance:
    return Glance(picture=picture, account=account, now=picture.now(mono), mono=mono)


def told(seen: Glance) -> tuple[str, str, Tone]:
    one = verdict(seen)
    return one.word, one.why, one.tone


def with_locks(*locks: LockRow) -> Glance:
    return glance(account=replace(ACCOUNT, locks=locks))


def test_all_well() -> None:
    assert told(glance()) == ("OK TO TRADE", "", Tone.GOOD)


def test_a_calm_account_is_told_how_much_more_may_be_held() -> None:
    held, product, group = (
        MeterRow(
            rule_id=f"size-{n}",
            spec_id="RULE-001",
            title="Contracts held",
            state="ok",
            sentence=sentence,
            used=0.4,
            limit=5.0,
            unit="contracts",
        )
        for n, sentence in enumerate(("2 of 5 held, room for 3", "2 of 3 MNQ held", "a third one"))
    )
    money = replace(held, sentence="$606.32 left", unit="USD")
    waits = replace(held, sentence="room for 9", counts_from=NOW + timedelta(hours=1))
    watched = replace(held, sentence="shadow: room for 1", shadow=True)
    unlimited = replace(held, sentence="nothing capped today", limit=None)
    long = replace(held, sentence="nothing held; limits: MNQ 3, NQ 1, MES 3, ES 1, M2K 3, MCL 2")
    seen = glance(
        account=replace(
            ACCOUNT, meters=(long, money, waits, watched, unlimited, held, product, group)
        )
    )
    assert told(seen) == ("OK TO TRADE", "2 of 5 held, room for 3; 2 of 3 MNQ held", Tone.GOOD)


def size(sentence: str, unit: str, current: float, limit: float, spec_id: str) -> MeterRow:
    return MeterRow(
        rule_id=spec_id,
        spec_id=spec_id,
        title="",
        state="ok",
        sentence=sentence,
        used=current / limit,
        current=current,
        limit=limit,
        headroom=limit - current,
        unit=unit,
    )


def test_the_room_for_the_product_held_is_told_before_the_room_in_all() -> None:
    each = size("2 of 3 MNQ held, room for 1", "MNQ contracts", 2, 3, "RULE-002")
    held = size("2 of 5 contracts held, room for 3", "contracts", 2, 5, "RULE-001")
    cap = size("1 of 4 GC held, always", "contracts", 1, 4, "EXTRA-021")

    def why(*meters: MeterRow) -> str:
        return verdict(glance(account=replace(ACCOUNT, meters=meters))).why

    both = "2 of 3 MNQ, 2 of 5 contracts held, room for 1 MNQ, 3 in all"
    assert why(each, held) == why(held, each) == both
    assert why(cap, each, held, cap) == f"{both}; 1 of 4 GC held, always"
    assert why(each) == "2 of 3 MNQ held, room for 1"
    assert why(each, replace(held, shadow=True)) == "2 of 3 MNQ held, room for 1"
    group = "10 of 25 sp500 micro-equivalents held, room for 15"
    micros = size(group, "sp500 micro-equivalents", 10, 25, "RULE-002")
    assert why(micros, held) == f"{group}; 2 of 5 contracts held, room for 3"
    free = replace(each, sentence="nothing held; limits: MNQ 3", unit="contracts")
    assert why(free, held) == "nothing held; limits: MNQ 3; 2 of 5 contracts held, room for 3"


def test_the_room_for_a_product_is_no_larger_than_the_room_in_all() -> None:
    each = size("2 of 9 MNQ held, room for 7", "MNQ contracts", 2, 9, "RULE-002")
    held = size("4 of 5 contracts held, room for 1", "contracts", 4, 5, "RULE-001")
    seen = glance(account=replace(ACCOUNT, meters=(each, held)))
    told = "2 of 9 MNQ, 4 of 5 contracts held, room for 1 MNQ, 1 in all"
    assert verdict(seen).why == told
    micros = replace(held, unit="micro-equivalents", current=40.0, limit=45.0, headroom=5.0)
    seen = glance(account=replace(ACCOUNT, meters=(each, micros)))
    told = "2 of 9 MNQ, 40 of 45 micro-equivalents held, room for 7 MNQ, 5 in all"
    assert verdict(seen).why == told
    full = replace(held, sentence="5 of 5 contracts held, no room", current=5.0, headroom=0.0)
    seen = glance(account=replace(ACCOUNT, meters=(each, full)))
    told = "2 of 9 MNQ, 5 of 5 contracts held, no room for more MNQ, none in all"
    assert verdict(seen).why == told


def test_locks_are_told_with_the_countdown_first_and_what_ends_them() -> None:
    word, why, tone = told(with_locks(lock()))
    assert word.startswith("LOCKED 5:00 until ")
    assert (why, tone) == ("too much lost; nobody can lift it", Tone.STOP)
    word, _, tone = told(with_locks(lock(policy="no_entries")))
    assert word.startswith("NO NEW ENTRIES 5:00 until ")
    assert tone is Tone.CARE
    word, why, _ = told(with_locks(lock(expires_at=None, release="can_trade")))
    assert (word, why) == (
        "LOCKED",
        "too much lost; ends when the platform allows trading again",
    )


def test_the_lock_that_bars_most_and_longest_decides() -> None:
    pause = lock(policy="no_entries", expires_at=None)
    short, long = lock(reason="short"), lock(reason="long", expires_at=NOW + timedelta(hours=1))
    assert verdict(with_locks(pause, long, short)).why.startswith("long")
    forever = lock(reason="forever", expires_at=None)
    assert verdict(with_locks(long, forever)).why.startswith("forever")


def test_a_blocked_product_bars_only_itself() -> None:
    assert told(with_locks(lock(scope="root:RTY"))) == ("OK TO TRADE", "not RTY", Tone.GOOD)


@pytest.mark.parametrize(
    ("picture", "account", "word", "why"),
    [
        (
            replace(PICTURE, hubs={"user": DOWN, "market": UP}),
            ACCOUNT,
            "NOT GUARDED",
            "down for 32s",
        ),
        (replace(PICTURE, rest=RestRow(ok=False, message="503")), ACCOUNT, "NOT GUARDED", "503"),
        (replace(PICTURE, status="STOPPING"), ACCOUNT, "NOT GUARDED", "STOPPING"),
        (replace(PICTURE, state_age_s=20.0), ACCOUNT, "NOT GUARDED", "not judged for 20s"),
        (
            replace(PICTURE, line=Line(up=False, reason="refused", heard_at=100.0)),
            ACCOUNT,
            "NOT GUARDED since ",
            "risk-manager run",
        ),
        (Picture(line=Line(up=False)), None, "NOT GUARDED", "risk-manager run"),
        (PICTURE, replace(ACCOUNT, can_trade=False), "NO TRADING", "platform"),
    ],
)
def test_what_stops_trading_is_red_and_says_why(
    picture: Picture, account: AccountSnapshot | None, word: str, why: str
) -> None:
    one = verdict(glance(picture, account))
    assert one.word.startswith(word)
    assert why in one.why
    assert one.tone is Tone.STOP


def test_silence_is_not_taken_for_well() -> None:
    one = verdict(glance(mono=160.0))
    assert (one.word, one.tone) == ("NOT KNOWN", Tone.STOP)
    assert "1m00s" in one.why


def test_a_lock_is_told_although_nobody_guards() -> None:
    picture = replace(PICTURE, status="STOPPING")
    one = verdict(glance(picture, replace(ACCOUNT, locks=(lock(),))))
    assert one.word == "NOT GUARDED"
    assert "and LOCKED 5:00" in one.why


def test_an_account_not_read_yet_is_not_known() -> None:
    assert verdict(glance(account=replace(ACCOUNT, known=False))).word == "NOT KNOWN YET"
    assert verdict(glance(account=None)).word == "NOT KNOWN"


def test_a_near_limit_is_named() -> None:
    near = replace(METER, state="warn", used=0.8)
    seen = glance(account=replace(ACCOUNT, meters=(METER, near)))
    assert told(seen) == ("OK TO TRADE, CARE", "$165.59 left", Tone.CARE)
    quiet = replace(ACCOUNT, meters=(replace(near, shadow=True), replace(near, counts_from=NOW)))
    assert verdict(glance(account=quiet)).tone is Tone.GOOD


def test_near_limits_are_named_with_the_most_dangerous_first() -> None:
    held = replace(METER, state="warn", used=1.0, unit="contracts", sentence="3 of 3 held")
    stop = replace(METER, state="warn", used=0.6, unit="s", sentence="closed in 12 s")
    loss = replace(METER, state="warn", used=0.84, unit="USD")
    seen = verdict(glance(account=replace(ACCOUNT, meters=(held, stop, loss))))
    assert seen.why == "$165.59 left; closed in 12 s; 3 of 3 held"
    assert [word_and_colour(m) for m in (held, stop, loss)] == [("WARN", "$text-warning")] * 3
    assert word_and_colour(replace(loss, used=0.95)) == ("WARN", "$text-error")


@pytest.mark.parametrize("unit", ["contracts", "MNQ contracts", "sp500 micro-equivalents"])
def test_a_limit_on_size_that_is_used_up_threatens_nothing(unit: str) -> None:
    held = replace(METER, used=1.0, unit=unit)
    assert word_and_colour(held) == ("OK", "$text-success")


def test_hours_that_have_passed_are_no_danger() -> None:
    hours = replace(METER, used=0.95, unit="min")
    assert word_and_colour(hours) == ("OK", "$text-success")
    assert word_and_colour(replace(hours, state="warn")) == ("WARN", "$text-warning")


def test_a_pause_that_runs_is_no_breach() -> None:
    meter = replace(METER, state="breach", used=1.4)

    def by(one: LockRow) -> tuple[str, str, str]:
        account = replace(ACCOUNT, locks=(one,))
        return *word_and_colour(meter, account), percent(meter, account)

    assert by(lock(policy="no_entries")) == ("PAUSE", "$text-warning", "")
    assert by(lock(policy="flat")) == ("BREACH", "$text-error", "140%")
    assert by(lock(policy="no_entries", rule_id="other"))[0] == "BREACH"
    assert by(lock(policy="no_entries", expires_at=None))[0] == "BREACH"


def test_what_comes_next_the_soonest_first() -> None:
    account = replace(
        ACCOUNT,
        meters=(METER,),
        locks=(lock(),),
        deadlines=(
            DeadlineRow(rule_id="loss", subject="x", due_at=NOW + timedelta(seconds=9)),
            DeadlineRow(rule_id="loss", subject="x", due_at=NOW - timedelta(seconds=9)),
        ),
    )
    assert [
        (left.total_seconds(), what) for left, what in what_is_next(glance(account=account))
    ] == [
        (9, "Loss today acts"),
        (300, "lock ends: Loss today"),
        (7 * 3600, "daily reset"),
    ]
    assert what_is_next(glance(Picture(), None)) == []


def test_the_end_of_a_pause_says_what_still_bars() -> None:
    hour = NOW + timedelta(hours=1)
    pause = lock(policy="no_entries")
    long, forever = lock(expires_at=hour), lock(expires_at=None)
    elsewhere = lock(scope="root:ES", expires_at=hour)

    def first(*locks: LockRow) -> str:
        return what_is_next(with_locks(*locks))[0][1]

    until = hour.astimezone().strftime("%H:%M:%S")
    assert first(pause, long) == f"pause ends, still LOCKED until {until}"
    assert first(pause, forever) == "pause ends, still LOCKED"
    assert first(lock(), replace(long, policy="no_entries")) == (
        f"lock ends, still NO NEW ENTRIES until {until}"
    )
    assert first(lock(scope="root:ES"), long) == f"lock ends, still LOCKED until {until}"
    assert first(pause, elsewhere) == "lock ends: loss"


COUNTING = replace(METER, rule_id="stop", title="Stop", state="warn", used=0.6, sentence="in 12 s")
DUE = DeadlineRow(
    rule_id="stop", subject="MNQ:1", due_at=NOW + timedelta(seconds=12), value="counting"
)


def test_a_deadline_that_closes_a_position_comes_first_and_is_red_everywhere() -> None:
    loss = replace(METER, state="warn", used=0.84, unit="USD")
    account = replace(ACCOUNT, meters=(loss, COUNTING), deadlines=(DUE,))
    seen = verdict(glance(account=account))
    assert (seen.why, seen.tone) == ("in 12 s; $165.59 left", Tone.STOP)
    assert word_and_colour(COUNTING, account) == ("WARN", "$text-error")
    assert word_and_colour(loss, account) == ("WARN", "$text-warning")
    watched = replace(account, meters=(loss, replace(COUNTING, shadow=True)))
    assert verdict(glance(account=watched)).tone is Tone.CARE  # a rule in shadow closes nothing
    assert word_and_colour(watched.meters[1], watched) == ("WARN", "$text-warning")


def test_limits_stand_by_their_urgency() -> None:
    breach = replace(METER, rule_id="b", title="breach", state="breach", used=1.06)
    pause = replace(METER, rule_id="p", title="pause", state="breach", used=1.46)
    loss = replace(METER, rule_id="l", title="loss", state="warn", used=0.5)
    shadow = replace(METER, rule_id="s", title="shadow", state="warn", used=0.9, shadow=True)
    calm = replace(METER, rule_id="c", title="calm", used=0.99)
    account = replace(
        ACCOUNT,
        meters=(calm, shadow, pause, COUNTING, loss, breach),
        locks=(lock(rule_id="b"), lock(rule_id="p", policy="no_entries")),
        deadlines=(DUE,),
    )
    shown = sorted(account.meters, key=lambda m: place(m, account))
    assert [m.title for m in shown] == ["Stop", "breach", "pause", "loss", "shadow", "calm"]
