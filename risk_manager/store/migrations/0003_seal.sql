-- A digest of the rows that locks and limits rest on, written in the transaction that changes them.
-- content is empty until the first one. An older program would not keep it up, and is refused.

CREATE TABLE seal (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL,
    content TEXT NOT NULL
) STRICT;
INSERT INTO seal (id, number, content) VALUES (1, 0, '');
