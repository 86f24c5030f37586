-- Events that changed something kept, written with what they changed; the others are in journal/.
-- day is the trading date in force before the event.

CREATE TABLE journal (
    seq INTEGER NOT NULL PRIMARY KEY,
    day TEXT NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX journal_by_day ON journal (day);
CREATE INDEX journal_by_time ON journal (at);
