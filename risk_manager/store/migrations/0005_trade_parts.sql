-- Two executions may come under one trade id: the closing and the opening half of a reversal.

CREATE TABLE trades_by_part (
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
    part INTEGER NOT NULL,
    PRIMARY KEY (account_id, trade_id, part)
) STRICT;
INSERT INTO trades_by_part SELECT trade_id, account_id, contract_id, order_id, side, size, price, pnl,
    fees, commissions, voided, executed_at, received_at, trading_day, 0 FROM trades;
DROP TABLE trades;
ALTER TABLE trades_by_part RENAME TO trades;
CREATE INDEX trades_by_day ON trades (account_id, trading_day);
CREATE INDEX trades_by_time ON trades (account_id, executed_at);
