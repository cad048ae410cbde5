-- What was written since the tables were last brought up to date (memory/database/journal.py): one row a transaction.
CREATE TABLE raw.journal (
    ordinal BIGINT NOT NULL, -- 0, 1, 2, … in the order of writing
    entries VARCHAR NOT NULL -- JSON: [table, whether the row is new, {column: value}] of each row
);
