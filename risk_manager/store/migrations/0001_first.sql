-- The first schema. Times are INTEGER microseconds since 1970 UTC; money and prices are TEXT decimals.
-- Dates are trading dates, ISO text. NULL is unknown.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What an account is, apart from what it holds. Its trading date stands in reset_state.
CREATE TABLE accounts (
    account_id INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    balance TEXT,
    can_trade INTEGER,
    can_trade_since INTEGER,
    simulated INTEGER,
    reported_at INTEGER,
    failed_rules TEXT NOT NULL,
    next_episode INTEGER NOT NULL,
    next_action INTEGER NOT NULL
) STRICT;

-- Locks and their history; a row is in force until cleared_at is set. Rows are never deleted
-- while in force.
CREATE TABLE lockouts (
    id INTEGER NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL,
    scope TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    policy TEXT NOT NULL,
    release TEXT NOT NULL,
    reason TEXT NOT NULL,
    triggered_by TEXT NOT NULL,
    admin_may_clear INTEGER NOT NULL,
    set_at INTEGER NOT NULL,
    until INTEGER,
    trading_date TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    cleared_at INTEGER,
    cleared_by TEXT,
    -- The name the other tables use for the same thing.
    trading_day TEXT GENERATED ALWAYS AS (trading_date) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX lockouts_in_force ON lockouts (account_id, scope, rule_id) WHERE cleared_at IS NULL;
CREATE INDEX lockouts_by_account ON lockouts (account_id, cleared_at, until);

-- How far each position may still reach under a lock that forbids entries.
CREATE TABLE ceilings (
    account_id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    net INTEGER NOT NULL,
    PRIMARY KEY (account_id, contract_id)
) STRICT, WITHOUT ROWID;

-- What rules remember: deadlines, flags, high-water marks. name is the JSON of its three parts.
CREATE TABLE timers (
    name TEXT NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    due_at INTEGER,
    payload TEXT NOT NULL
) STRICT;
CREATE INDEX timers_by_account ON timers (account_id);

CREATE TABLE breaches (
    account_id INTEGER NOT NULL,
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    trading_date TEXT NOT NULL,
    severity TEXT NOT NULL,
    active INTEGER NOT NULL,
    PRIMARY KEY (account_id, rule_id, subject)
) STRICT, WITHOUT ROWID;

-- Positions that have been decided on and are driven to flat.
CREATE TABLE closings (
    account_id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    episode INTEGER NOT NULL,
    since INTEGER NOT NULL,
    rule_ids TEXT NOT NULL,
    reason TEXT NOT NULL,
    order_ids TEXT NOT NULL,
    PRIMARY KEY (account_id, contract_id)
) STRICT, WITHOUT ROWID;

-- Executions by the gateway's own id, which makes counting them exactly once a matter of keys.
-- pnl is before fees and NULL for a half-turn that opens; commissions NULL: contained in fees.
CREATE TABLE trades (
    trade_id INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    order_id INTEGER NOT NULL,
    side INTEGER NOT NULL,
    size INTEGER NOT NULL,
    price TEXT NOT NULL,
    pnl TEXT,
    fees TEXT NOT NULL,
    commissions TEXT,
    voided INTEGER NOT NULL,
    executed_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    trading_day TEXT NOT NULL,
    PRIMARY KEY (account_id, trade_id)
) STRICT;
CREATE INDEX trades_by_day ON trades (account_id, trading_day);
CREATE INDEX trades_by_time ON trades (account_id, executed_at);

-- One row per finished trading day. realized is before fees, net after.
CREATE TABLE daily_summary (
    account_id INTEGER NOT NULL,
    trading_day TEXT NOT NULL,
    realized TEXT NOT NULL,
    fees TEXT NOT NULL,
    net TEXT NOT NULL,
    trade_count INTEGER NOT NULL,
    unrealized_low TEXT,
    unrealized_low_at INTEGER,
    unrealized_high TEXT,
    unrealized_high_at INTEGER,
    start_balance TEXT,
    end_balance TEXT,
    unrealized_at_reset TEXT,
    PRIMARY KEY (account_id, trading_day)
) STRICT, WITHOUT ROWID;

-- What the broker holds, as last heard. Keyed by contract: that is what a position is one of.
-- type 0: the side is not known, and size counts gross.
CREATE TABLE positions (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    type INTEGER NOT NULL,
    size INTEGER NOT NULL,
    average_price TEXT,
    created_at INTEGER,
    updated_at INTEGER NOT NULL,
    episode INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    increased_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, contract_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    type INTEGER NOT NULL,
    status INTEGER NOT NULL,
    side INTEGER NOT NULL,
    size INTEGER NOT NULL,
    fill_volume INTEGER NOT NULL,
    filled_price TEXT,
    limit_price TEXT,
    stop_price TEXT,
    custom_tag TEXT,
    created_at INTEGER,
    updated_at INTEGER,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

-- Every action asked of the broker. state: NEW, SENT, UNCERTAIN, CONFIRMED, FAILED, or LOST
-- (the daemon ended, or asked again, before it heard). breach: who asked and why, as JSON.
CREATE TABLE intents (
    id TEXT NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL,
    contract_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target_size INTEGER,
    rule_id TEXT NOT NULL,
    breach TEXT NOT NULL,
    custom_tag TEXT UNIQUE,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_error TEXT
) STRICT;
CREATE INDEX intents_open ON intents (account_id) WHERE state IN ('NEW', 'SENT', 'UNCERTAIN');
CREATE INDEX intents_by_time ON intents (created_at);

-- What was decided (intent_id NULL; one row per rule, subject and trading day, counted) and what
-- was done (one row per intent).
CREATE TABLE enforcement_log (
    id INTEGER NOT NULL PRIMARY KEY,
    intent_id TEXT REFERENCES intents (id) ON DELETE SET NULL,
    at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    count INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    trading_day TEXT NOT NULL,
    rule_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL,
    details TEXT NOT NULL,
    duration_ms REAL
) STRICT;
CREATE UNIQUE INDEX enforcement_log_decisions
    ON enforcement_log (account_id, rule_id, subject, trading_day) WHERE action = 'decide';
CREATE INDEX enforcement_log_by_intent ON enforcement_log (intent_id);
CREATE INDEX enforcement_log_by_account ON enforcement_log (account_id, at);
CREATE INDEX enforcement_log_by_time ON enforcement_log (at);
CREATE INDEX enforcement_log_unconfirmed ON enforcement_log (account_id, at) WHERE outcome <> 'confirmed';

-- last_reset_day is the trading date in force; last_reset_at NULL: watched since the middle of it.
CREATE TABLE reset_state (
    account_id INTEGER NOT NULL PRIMARY KEY,
    last_reset_day TEXT NOT NULL,
    last_reset_at INTEGER,
    next_reset_at INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    id INTEGER NOT NULL PRIMARY KEY,
    account_id INTEGER NOT NULL,
    clock_in_at INTEGER NOT NULL,
    clock_out_at INTEGER
) STRICT;
CREATE UNIQUE INDEX sessions_open ON sessions (account_id) WHERE clock_out_at IS NULL;

CREATE TABLE contracts (
    contract_id TEXT NOT NULL PRIMARY KEY,
    symbol_id TEXT NOT NULL,
    name TEXT NOT NULL,
    tick_size TEXT NOT NULL,
    tick_value TEXT NOT NULL,
    fetched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The chain: hash is sha256 over the hash of the row before and the stored text of record. The
-- other columns repeat what record says, for searching; the check of the chain compares them.
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    old TEXT,
    new TEXT,
    ok INTEGER NOT NULL,
    record TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;

CREATE TABLE connection_log (
    id INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    hub TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX connection_log_by_time ON connection_log (at);
