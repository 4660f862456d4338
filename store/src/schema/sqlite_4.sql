-- Version 4. A lease is over when its owner has not renewed it for its time to live, as whoever takes
-- over has watched: no clock is compared with another. And steps of the clock, by which nothing
-- becomes old; size is in milliseconds.

DROP TABLE leases;
CREATE TABLE leases (
    fence    INTEGER PRIMARY KEY,
    ttl      INTEGER NOT NULL,
    renewals INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE clock_steps (
    number INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    size   INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('clock_steps', 0);
